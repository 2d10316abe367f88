import Basics
package import Foundation
import Generation
package import Models
package import Torch

/// Writes an autoencoder into a checkpoint folder, and the statistics of its latents into the folder's settings.
///
/// - Parameters:
///   - parameters: by the published keys.
///   - statistics: nil leaves the settings as they are.
/// - Throws: `FileError`. Files are replaced atomically.
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
