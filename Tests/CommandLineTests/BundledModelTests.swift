import Basics
import Foundation
import Generation
import Media
import Testing

/// Models/mini, as it is in the repository.
@Suite struct BundledModelTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  private let model = BundledModelTests.root.appendingPathComponent("Models/mini")

  @Test func `it is complete, and small enough to be in the repository`() throws {
    let inspection = CheckpointInspection(of: try CheckpointFolder(model))
    #expect(inspection.complete && inspection.provenance?.contains("Recipes/mini.sh") == true)
    #expect(inspection.items.compactMap(\.bytes).reduce(0, +) < 60_000_000)
    for item in inspection.items { #expect(item.types.map { $0.keys.allSatisfy { $0 == "bfloat16" } } ?? true) }
  }

  @Test func `it has at least six avatars of its own size`() throws {
    let folder = model.appendingPathComponent("avatars").path
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".png") }
    #expect(names.count >= 6)
    for name in names {
      let picture = try Picture(contentsOf: "\(folder)/\(name)")
      #expect(picture.width == 256 && picture.height == 256)
    }
  }

  /// What `evaluate` writes, as far as it is looked at.
  private struct Report: Decodable {
    struct Clip: Decodable {
      struct LipSync: Decodable {
        struct Opening: Decodable { let correlation: Double }
        let opening: Opening
      }
      struct Identity: Decodable { let mean: Double }
      struct Pictures: Decodable { let blackFrames, flatFrames: Double }
      struct Acting: Decodable { let smile: Double }
      let id: String
      let lipSync: LipSync?
      let identity: Identity
      let picture: Pictures
      let acting: Acting
    }
    let clips: [Clip]
  }

  /// The bounds are far below what docs/RESULTS.md reports, and far above what a model that does not talk reaches (0, and 0.1 for a
  /// stranger's face).
  @Test func `its mouth follows speech, and its face stays that of the picture`() async throws {
    let folder = try Folder()
    let made = try await Tool.run(
      "data", "synthesize", "-q", "--out", folder["clips"].path, "--clips", "3", "--seconds", "3.0625", "--seed", "901",
      "--languages", "en")
    #expect(made.status == 0, "\(made.error)")
    let json = folder["report.json"]
    let result = try await Tool.run(
      "evaluate", "--checkpoint", model.path, "--clips", folder["clips"].path, "--json", json.path, "--threads", "1")
    #expect(result.status == 0, "\(result.error)")
    let clips = try JSONDecoder().decode(Report.self, from: Data(contentsOf: json)).clips
    let openings = clips.compactMap(\.lipSync?.opening.correlation)
    #expect(openings.count >= 2 && openings.reduce(0, +) / Double(openings.count) > 0.6, "\(openings)")
    for clip in clips {
      #expect(clip.identity.mean > 0.9 && clip.picture.blackFrames == 0 && clip.picture.flatFrames == 0)
    }
  }

  @Test func `its face is that of the prompt beside the picture`() async throws {
    let (folder, results) = (try Folder(), try Folder())
    let json = results["report.json"]
    for mood in ["looking sad", "smiling"] {
      let name = mood.replacing(" ", with: "-")
      for (source, kind) in [("Models/mini/avatars/leo.png", "png"), ("Examples/librivox_austen.wav", "wav")] {
        try FileManager.default.copyItem(at: Self.root.appendingPathComponent(source), to: folder["\(name).\(kind)"])
      }
      try "A man, \(mood), keeps the head still while speaking English.\n"
        .write(to: folder["\(name).txt"], atomically: true, encoding: .utf8)
    }
    let result = try await Tool.run(
      "evaluate", "--checkpoint", model.path, "--clips", folder["."].path, "--seconds", "2", "--json", json.path,
      "--threads", "1")
    #expect(result.status == 0, "\(result.error)")
    let clips = try JSONDecoder().decode(Report.self, from: Data(contentsOf: json)).clips
    #expect(clips.map(\.id) == ["looking-sad", "smiling"])
    #expect(clips[1].acting.smile > clips[0].acting.smile + 0.4, "\(clips.map(\.acting.smile))")
  }
}
