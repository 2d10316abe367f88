import Basics
import Foundation
import Models
import PromptCleaning
import TextTokenizer
package import Torch

/// Reads prompts with the text encoder of a checkpoint, which is loaded once for all of them.
///
/// On the CPU its weights are pages of the mapped file; elsewhere one layer at a time is on the device.
package struct PromptEncoder: Sendable {
  private let root: URL
  private let tokenizer: Tokenizer
  private let encoder: UMT5Encoder
  private let rows: Int

  /// - Throws: `FileError`, `CheckpointMismatch`, or what the tokeniser's file is not.
  package init(loading folder: CheckpointFolder, device: Device, dtype: DType) throws {
    root = folder.root
    rows = folder.settings.textRows
    tokenizer = try folder.loadTokenizer()
    encoder = try folder.loadTextEncoder(device: device, dtype: dtype)
  }

  /// The type that the text encoder runs in when the other models run in `dtype`: fp16 overflows in umT5.
  package static func type(for dtype: DType) -> DType { dtype == .float16 ? .bfloat16 : dtype }

  /// - Returns: the context `[1, textRows, textDim]`, whose rows past the prompt are 0, and how many rows are the prompt's.
  /// - Throws: `FileError` for a tokeniser of another text encoder.
  package func encode(_ prompt: String) throws -> (context: Tensor, count: Int) {
    let text = tokenizer.encode(PromptCleaning.clean(prompt))
    let ids = Tensor(text.ids, [1, text.ids.count])
    guard text.ids.allSatisfy((0..<Int64(encoder.configuration.vocabulary)).contains) else {
      throw FileError(root, "its tokeniser knows more words than its text encoder")
    }
    let mask = Tensor(text.mask, [1, text.mask.count])
    let context = try encoder.encode(ids: ids.to(encoder.device), mask: mask.to(encoder.device))
      .checked(as: "values of the encoded prompt")
    return (context.narrow(1, 0, rows), min(text.count, rows))
  }
}

extension CheckpointFolder {
  /// Reads a prompt with the checkpoint's text encoder, which is loaded for it and let go after it.
  ///
  /// - Returns: `[1, textRows, textDim]` in `dtype`; rows past the prompt are 0.
  /// - Throws: `FileError`, `CheckpointMismatch`, or what the tokeniser's file is not.
  package func encodeText(_ prompt: String, device: Device, dtype: DType) throws -> Tensor {
    try PromptEncoder(loading: self, device: device, dtype: dtype).encode(prompt).context
  }
}
