import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Media
import Torch
import Training

/// `livetalk train`.
struct TrainCommand: ParsableCommand {
  static let configuration = TrainOptions.configuration
  @OptionGroup var options: TrainOptions

  func run() throws { try options.run(write: TrainCommand.write) }

  /// Writes a sample as an MP4, and gives its middle frame as a picture.
  private static func write(_ sample: SampleVideo, to folder: URL) throws -> (png: [UInt8], width: Int, height: Int)? {
    let (count, height, width) = (sample.pixels.size(0), sample.pixels.size(1), sample.pixels.size(2))
    let bytes = sample.pixels.bytes()
    let frames = (0..<count).map { Array(bytes[$0 * height * width * 3..<($0 + 1) * height * width * 3]) }
    let name = folder.appendingPathComponent(String(format: "step-%08d", sample.step)).path
    let format = VideoFormat(width: width, height: height, framesPerSecond: sample.fps, soundSampleRate: nil)
    let video = try VideoWriter(path: "\(name).mp4", format: format)
    for frame in frames { try video.append(frame: frame) }
    try video.finish()
    let picture = Picture(width: width, height: height, bytes: frames[count / 2])
    try picture.writePNG(to: "\(name).png", comment: madeByAI)
    let png = try Data(contentsOf: URL(fileURLWithPath: "\(name).png"))
    return (Array(png), width, height)
  }
}
