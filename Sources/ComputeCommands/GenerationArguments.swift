import ArgumentParser
package import Generation
import Models

/// Values of options that `generate` and `bench` share.
package enum GenerationArguments {
  /// Reads a size of video, `HxW`.
  ///
  /// - Throws: `ValidationError` that says what a size is.
  package static func size(_ text: String) throws -> ReferencePicture.Size {
    let sides = text.lowercased().split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard sides.count == 2, let height = sides[0], let width = sides[1],
      [height, width].allSatisfy({ (16...8192).contains($0) && $0 % 16 == 0 })
    else { throw ValidationError("a size is height x width in multiples of 16 from 16 to 8192, such as 512x512") }
    return ReferencePicture.Size(height: height, width: width)
  }

  /// Reads a cache policy that has room for a block.
  ///
  /// - Throws: `ValidationError` that says what a policy is, or why this one cannot be.
  package static func policy(_ text: String) throws -> KVCachePolicy {
    guard let policy = KVCachePolicy(text) else {
      throw ValidationError("a policy is full, rolling:W or anchor:S/W")
    }
    if let problem = policy.problem(framesPerBlock: LatentGeometry.livetalk.framesPerBlock) {
      throw ValidationError(problem)
    }
    return policy
  }
}

extension KVCachePolicy {
  /// Latent frames of a window of fixed length.
  package var windowFrames: Int? {
    switch self {
    case .full: nil
    case .rolling(let window), .anchorHeavy(_, let window): window
    }
  }
}
