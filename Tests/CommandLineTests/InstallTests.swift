import Foundation
import Testing

/// `scripts/install`, with the program that was built for the tests.
@Suite struct InstallTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
    .standardized
  private let folder: Folder

  init() throws { folder = try Folder() }

  private func install(_ prefix: URL) async throws -> Tool.Result {
    try await Tool.run(
      Self.root.appendingPathComponent("scripts/install"), [try Tool.executable().path, prefix.path])
  }

  @Test func `an installed program finds its libraries and the bundled model beside itself`() async throws {
    let prefix = folder["prefix"]
    // Twice: what was there is replaced.
    for _ in 0..<2 {
      let result = try await install(prefix)
      #expect(result.status == 0, "\(result.error)")
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: prefix.appendingPathComponent("lib").path) == ["livetalk"])
    let program = prefix.appendingPathComponent("bin/livetalk").path
    let libraries = try await Tool.run(URL(fileURLWithPath: program), [], ["LD_TRACE_LOADED_OBJECTS": "1"]).text
    let torch = libraries.split(separator: "\n").filter { $0.contains("libtorch") || $0.contains("libc10") }
    #expect(torch.count >= 2 && torch.allSatisfy { $0.contains(prefix.path) }, "\(libraries)")
    let image = Self.root.appendingPathComponent("Models/mini/avatars/iris.png").path
    let sound = Self.root.appendingPathComponent("Examples/librivox_austen.wav").path
    let video = folder["out.mp4"].path
    let made = try await Tool.run(
      URL(fileURLWithPath: "/bin/sh"),
      [
        "-c", "cd / && exec \"$0\" \"$@\"", program, "generate", "--image", image, "--audio", sound, "--prompt",
        "A woman.",
        "--seconds", "0.5", "--threads", "1", "-o", video,
      ])
    #expect(made.status == 0, "\(made.error)")
    #expect(FileManager.default.fileExists(atPath: video))
  }

  @Test func `a place that cannot be written is refused in a sentence`() async throws {
    let file = folder["file"]
    try Data().write(to: file)
    let result = try await install(file.appendingPathComponent("prefix"))
    #expect(result.status == 1 && result.complaints.count == 1 && result.error.contains("cannot be written"))
  }
}
