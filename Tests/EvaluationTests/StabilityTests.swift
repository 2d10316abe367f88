import Foundation
import Models
import NN
import Testing
import Torch

@testable import Evaluation

@Suite struct StabilityTests {
  @Test func `a person who changes is told by the cosine`() throws {
    // A turn of a right angle over 20 seconds.
    let angles: [Double] = (0..<320).map { Double($0) / 319 * Double.pi / 2 }
    let frames = angles.map { [Float(cos($0)), Float(sin($0))] }
    let identity = try #require(
      IdentityStability(frames: frames, reference: [1, 0], stranger: [0, -1], framesPerSecond: 16))
    #expect(abs(try #require(identity.stranger) + identity.mean) < 1e-6)
    #expect(abs(identity.mean - 2 / Double.pi) < 1e-3 && abs(identity.least) < 1e-6)
    // Of a quarter turn its second half less its first.
    let quarter = sin(Double.pi / 4)
    let expected: Double = 4 / Double.pi * (1 - 2 * quarter)
    #expect(abs(try #require(identity.drift) - expected) < 5e-3)
    let short = try #require(
      IdentityStability(frames: Array(frames.prefix(100)), reference: [1, 0], framesPerSecond: 16))
    #expect(short.drift == nil)
    #expect(identity.bySecond.count == 20 && short.bySecond.count == 6)
    #expect(abs((identity.bySecond.reduce(0, +) / 20) - identity.mean) < 1e-6)
  }

  private func picture(_ colours: [[Float]], deviation: Float = 50, backdrops: [[Float]]? = nil) -> PictureStability? {
    PictureStability(
      colours: colours, deviations: [Float](repeating: deviation, count: colours.count),
      backdrops: backdrops ?? colours.map { [$0[0]] }, framesPerSecond: 16)
  }

  @Test func `colours that drift and come back`() throws {
    let red = (0..<48).map { Float($0 < 16 ? 100 : $0 < 32 ? 110 : 97) }
    let stability = try #require(picture(red.map { [$0, 50, 50] }))
    #expect(abs(stability.colourDrift - 10) < 1e-6 && abs(stability.lastColourDrift - 3) < 1e-6)
    #expect(zip(stability.colourDriftBySecond, [0, 10, 3]).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func `light that flickers, and light that only grows`() throws {
    let grows = try #require(picture((0..<32).map { frame in [Float](repeating: Float(frame), count: 3) }))
    #expect(grows.flicker < 1e-4 && grows.backdropFlicker < 1e-6)
    let flickers = try #require(picture((0..<32).map { frame in [Float](repeating: Float(100 + frame % 2), count: 3) }))
    #expect(abs(flickers.flicker - 2) < 1e-3 && abs(flickers.backdropFlicker - 2) < 1e-6)
  }

  @Test func `black and flat frames are counted`() throws {
    let dark = try #require(picture([[Float]](repeating: [0, 0, 0], count: 4), deviation: 1))
    #expect(dark.blackFrames == 4 && dark.flatFrames == 0)
    let flat = try #require(picture([[Float]](repeating: [90, 90, 90], count: 4), deviation: 1))
    #expect(flat.blackFrames == 0 && flat.flatFrames == 4)
    let good = try #require(picture([[Float]](repeating: [90, 90, 90], count: 4)))
    #expect(good.blackFrames == 0 && good.flatFrames == 0)
  }
}

@Suite struct ReaderAccuracyTests {
  @Test func `a reader is judged column by column`() throws {
    let truth = (0..<8).map { frame in FaceColumn.allCases.map { Float(frame * ($0.rawValue % 3)) * 0.1 } }
    var read = truth
    for frame in read.indices {
      read[frame][FaceColumn.yaw.rawValue] += 0.25
      read[frame][FaceColumn.smile.rawValue] = -truth[frame][FaceColumn.smile.rawValue]
      read[frame][FaceColumn.chinX.rawValue] += 0.3
      read[frame][FaceColumn.chinY.rawValue] -= 0.4
    }
    let accuracy = try #require(ReaderAccuracy(read: read, truth: truth))
    let (yaw, smile) = (try #require(accuracy.columns["yaw"]), try #require(accuracy.columns["smile"]))
    #expect(yaw.correlation == nil && abs(yaw.error - 0.25) < 1e-6)
    #expect(abs(try #require(smile.correlation) + 1) < 1e-6)
    // One of eight landmarks half a picture off.
    #expect(abs(accuracy.landmarkError - 0.5 / 8) < 1e-6)
    #expect(ReaderAccuracy(read: read, truth: Array(truth.dropLast())) == nil)
  }
}

@Suite struct VideoReadingTests {
  private let reader = FaceReader(
    FaceReaderConfiguration(widths: [8, 8, 8, 32], hidden: 8, identityWidth: 8),
    ParameterStore(random: RandomGenerator(seed: 5), isFrozen: true).root)

  private func frames(_ count: Int, _ height: Int, _ width: Int) -> [[UInt8]] {
    (0..<count).map { frame in
      (0..<height * width * 3).map { (place: Int) -> UInt8 in
        let mixed = place * 7 + frame * 31
        return UInt8(truncatingIfNeeded: mixed ^ (place >> 5))
      }
    }
  }

  @Test func `frames are read alike one by one and in batches`() throws {
    let frames = frames(19, 48, 64)
    var whole = VideoReading(width: 64, height: 48, reader: reader)
    for frame in frames { whole.append(frame) }
    #expect(whole.frames == 19)
    whole.finish()
    #expect(whole.frames == 19 && whole.columns.count == 19 && whole.features[0].count == 32)
    for (index, frame) in frames.enumerated() {
      var one = VideoReading(width: 64, height: 48, reader: reader)
      one.append(frame)
      one.finish()
      #expect(zip(one.columns[0], whole.columns[index]).allSatisfy { abs($0 - $1) < 1e-4 })
      #expect(zip(one.identities[0], whole.identities[index]).allSatisfy { abs($0 - $1) < 1e-4 })
    }
    let length = whole.identities[3].reduce(0) { $0 + $1 * $1 }
    #expect(abs(length - 1) < 1e-5)
  }

  @Test func `colours and the backdrop are those of the picture`() throws {
    // Red left half, blue right half, and a green square in the middle that the backdrop does not see.
    let (height, width) = (64, 64)
    var bytes = [UInt8](repeating: 0, count: height * width * 3)
    for y in 0..<height {
      for x in 0..<width {
        let place = (y * width + x) * 3
        if (24..<40).contains(x), (24..<40).contains(y) {
          bytes[place + 1] = 255
        } else {
          bytes[place + (x < 32 ? 0 : 2)] = 200
        }
      }
    }
    var reading = VideoReading(width: width, height: height, reader: reader)
    reading.append(bytes)
    reading.finish()
    let outside = Float(64 * 64 - 16 * 16) / 2 / 4096 * 200
    #expect(zip(reading.colours[0], [outside, 255 * 256 / 4096, outside]).allSatisfy { abs($0 - $1) < 1e-2 })
    let row = Array(reading.backdrops[0].prefix(16))
    #expect(
      row.prefix(8).allSatisfy { abs($0 - 0.299 * 200) < 1e-2 }
        && row.suffix(8).allSatisfy { abs($0 - 0.114 * 200) < 1e-2 })
    #expect(reading.backdrops[0].count == 32 * 16)
  }
}
