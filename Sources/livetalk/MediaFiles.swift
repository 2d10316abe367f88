import Basics
import ComputeCommands
import Foundation
import Generation
import Media
import Parity

extension MediaReader {
  /// Reads the pictures and sounds of parity cases through the media libraries, as the reference read them.
  static let libraries = MediaReader(
    picture: { try Picture(contentsOf: $0.path, applyOrientation: false) },
    sound: { try Sound(contentsOf: $0.path, sampleRate: $1).samples })
}

/// The limits of a reference picture.
enum PictureLimits {
  /// Pixels of the shorter side.
  static let shortestSide = 16
  /// Of the longer side to the shorter one.
  static let longestRatio = 16

  /// - Throws: `LiveTalkError` for a picture that shows no face.
  static func check(_ picture: Picture, path: String) throws {
    let (short, long) = (min(picture.width, picture.height), max(picture.width, picture.height))
    let size = "\(picture.width) × \(picture.height) pixels"
    guard short >= shortestSide else {
      throw LiveTalkError(
        "The picture \(path) is too small: it is \(size), and at least \(shortestSide) a side are needed.")
    }
    guard long <= longestRatio * short else {
      throw LiveTalkError(
        "The picture \(path) is too narrow: it is \(size), and one side may be at most "
          + "\(longestRatio) times as long as the other.")
    }
  }
}
