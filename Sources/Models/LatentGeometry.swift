/// How a model family's video, latents and sound lie over each other in time and space. A family states it, everything else asks.
package struct LatentGeometry: Hashable, Sendable {
  /// Video frames per second.
  package var framesPerSecond: Int
  /// Samples of sound per second.
  package var sampleRate: Int
  /// Pixels along one side of a latent pixel.
  package var spatialStride: Int
  /// Video frames of every latent frame but the first, which is one video frame.
  package var temporalStride: Int
  package var latentChannels: Int
  /// Rows of audio features that the transformer packs into one latent frame.
  package var audioRowsPerLatentFrame: Int
  /// Latent frames that are generated together.
  package var framesPerBlock: Int

  package init(
    framesPerSecond: Int, sampleRate: Int, spatialStride: Int, temporalStride: Int, latentChannels: Int,
    audioRowsPerLatentFrame: Int, framesPerBlock: Int
  ) {
    self.framesPerSecond = framesPerSecond
    self.sampleRate = sampleRate
    self.spatialStride = spatialStride
    self.temporalStride = temporalStride
    self.latentChannels = latentChannels
    self.audioRowsPerLatentFrame = audioRowsPerLatentFrame
    self.framesPerBlock = framesPerBlock
  }

  /// As LiveTalk was published, with the autoencoder of Wan 2.1.
  package static let livetalk = LatentGeometry(
    framesPerSecond: 16, sampleRate: 16_000, spatialStride: 8, temporalStride: 4, latentChannels: 16,
    audioRowsPerLatentFrame: 4, framesPerBlock: 3)

  /// As Live Avatar was published, with the same autoencoder.
  package static let liveAvatar = LatentGeometry(
    framesPerSecond: 25, sampleRate: 16_000, spatialStride: 8, temporalStride: 4, latentChannels: 16,
    audioRowsPerLatentFrame: 4, framesPerBlock: 3)

  /// The same over another autoencoder.
  package func over(_ vae: WanVAEConfiguration) -> LatentGeometry {
    var geometry = self
    (geometry.spatialStride, geometry.temporalStride) = (vae.spatialStride, vae.temporalStride)
    geometry.latentChannels = vae.latentChannels
    return geometry
  }

  /// Video frames of so many latent frames from the start of a video: one for the first.
  package func videoFrames(latentFrames: Int) -> Int { temporalStride * (latentFrames - 1) + 1 }

  /// The fewest latent frames that hold so many video frames.
  package func latentFrames(holding videoFrames: Int) -> Int {
    (videoFrames - 1 + temporalStride - 1) / temporalStride + 1
  }

  /// Video frames of a block: the first one of a video begins with a latent frame that is one video frame.
  package func videoFrames(inBlock block: Int, framesPerBlock: Int) -> Int {
    framesPerBlock * temporalStride - (block == 0 ? temporalStride - 1 : 0)
  }

  /// Samples from a video's first frame to its last, of so many latent frames.
  package func sampleCount(latentFrames: Int) -> Int {
    Int(Double(temporalStride * (latentFrames - 1)) / Double(framesPerSecond) * Double(sampleRate))
  }

  /// The part of a sound that a video takes. A shorter sound stays as it is: its features are stretched over the video.
  package func trimmed(_ samples: [Float], latentFrames: Int) -> [Float] {
    Array(samples.prefix(max(sampleCount(latentFrames: latentFrames), 0)))
  }
}
