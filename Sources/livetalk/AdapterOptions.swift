import ArgumentParser
import Basics
import Foundation
import Models

/// The adapters of commands that load a model.
struct AdapterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A LoRA adapter for the transformer: its file, or its folder; may be repeated.",
      discussion: "A strength may stand behind it, such as FILE:0.8; without one it is 1.", valueName: "file[:strength]"
    ))
  var lora: [String] = []

  /// - Throws: `FileError`, or `LiveTalkError` for one that would change nothing.
  func adapters() throws -> [LoRAAdapter] { try lora.map { try Self.adapter($0) } }

  /// Reads an adapter as it is given in words: `FILE` or `FILE:STRENGTH`.
  ///
  /// - Parameter alpha: its scale, where it is given.
  static func adapter(_ text: String, alpha: Double? = nil) throws -> LoRAAdapter {
    let (path, strength) = try split(text)
    let adapter = try LoRAAdapter(contentsOf: URL(fileURLWithPath: path), alpha: alpha, strength: strength)
    guard adapter.hasFactors else {
      throw FileError(adapter.url, "it holds no LoRA weights (lora_A and lora_B, or lora_down and lora_up)")
    }
    guard !adapter.changesNothing else {
      throw FileError(adapter.url, "it changes nothing: its factors or its strength are 0")
    }
    return adapter
  }

  private static func split(_ text: String) throws -> (path: String, strength: Double) {
    guard let colon = text.lastIndex(of: ":"), !FileManager.default.fileExists(atPath: text) else { return (text, 1) }
    let word = text[text.index(after: colon)...]
    guard let strength = Double(word) else { return (text, 1) }
    guard strength.isFinite, abs(strength) <= 1000 else {
      throw LiveTalkError(
        "The strength of the adapter \(text[..<colon]) is not a finite number up to 1000: \(word.prefix(20)).")
    }
    return (String(text[..<colon]), strength)
  }
}
