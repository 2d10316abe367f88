package import Basics
package import Foundation
import Generation

/// How the suite reads pictures and sound. A program without media libraries gives none, and the cases that need one say so.
package struct MediaReader: Sendable {
  /// The pixels of a picture file; orientation ignored, alpha dropped.
  package var picture: @Sendable (URL) throws -> Picture
  /// The samples of a sound file, mono at the given rate.
  package var sound: @Sendable (URL, Int) throws -> [Float]

  package init(
    picture: @escaping @Sendable (URL) throws -> Picture, sound: @escaping @Sendable (URL, Int) throws -> [Float]
  ) {
    self.picture = picture
    self.sound = sound
  }
}
