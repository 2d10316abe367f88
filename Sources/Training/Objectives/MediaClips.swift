import ClipShards
import Foundation
package import Torch

/// The training data of the autoencoder and the speech encoder.
extension PreparedClips {
  /// The frames of a clip in [-1, 1], `[1, 3, T, H, W]`.
  ///
  /// - Throws: `LiveTalkError` where the folder holds no media.
  package func video(_ clip: Int) throws -> Tensor {
    (try tensor(clip, "video").to(.float32) / 127.5 - 1).unsqueeze(0)
  }

  /// The sound of a clip and its phonemes, if known.
  package func sound(_ clip: Int) throws -> LabelledSound {
    LabelledSound(samples: try tensor(clip, "sound").array(Float.self), phonemes: segments(clip))
  }

  /// The phonemes of all clips.
  package var phonemeSymbols: PhonemeSymbols { PhonemeSymbols(of: index.clips.indices.lazy.map(segments)) }

  private func segments(_ clip: Int) -> [PhonemeSegment] {
    (index.clips[clip].phonemes ?? []).map { PhonemeSegment($0.symbol, $0.start, $0.end) }
  }
}
