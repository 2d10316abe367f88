import Foundation
import Generation
import Models
import Torch

/// Writes an autoencoder into a checkpoint folder as the avatar reads it, and the statistics of its latents into the folder's
/// settings, whose other values stay.
///
/// - Parameters:
///   - parameters: under the keys of the published file.
///   - statistics: without any the settings stay as they are.
/// - Throws: `FileError`. Each file is written beside its place and renamed when whole.
package func writeVAE(
  _ parameters: [(name: String, tensor: Tensor)], statistics: LatentStatistics?, to root: URL
) throws {
  let file = ModelFamily.liveTalk.place(of: .vae, in: root)
  let folder = file.deletingLastPathComponent()
  do { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) } catch {
    throw FileError(folder, "it cannot be made")
  }
  try writePickle(Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.tensor.detach()) }), to: file)
  guard let statistics else { return }
  var settings = try CheckpointFolder(root).settings
  settings.latentStatistics = statistics
  try settings.write(to: root)
}
