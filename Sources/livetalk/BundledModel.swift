import Foundation

/// What comes with the program: `Models` of the working directory, or the folder of that name beside the program, where
/// `scripts/install` puts it.
enum BundledModel {
  static let folder: URL = {
    let here = URL(fileURLWithPath: "Models")
    let beside = Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent()
      .appendingPathComponent("Models")
    return [here, beside].compactMap { $0 }.first {
      FileManager.default.fileExists(atPath: $0.appendingPathComponent("mini").path)
    } ?? here
  }()

  /// The checkpoint for those who name none.
  static var checkpoint: String { folder.appendingPathComponent("mini").relativePath }
}
