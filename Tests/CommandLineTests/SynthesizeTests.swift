import Foundation
import Testing

@Suite struct SynthesizeTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private func arguments(_ more: String...) -> [String] {
    ["data", "synthesize", "--out", folder["clips"].path, "--clips", "2", "--seconds", "0.5", "--size", "64"] + more
  }

  @Test func `data synthesize makes a folder and goes on with it`() async throws {
    let made = try await Tool.run(arguments("--seed", "3", "--languages", "en,de"))
    #expect(made.status == 0, "\(made.error)")
    #expect(made.text.contains("2 clips made; 16 pictures") && made.text.contains("a second"))
    let list = try String(contentsOf: folder["clips/metadata.jsonl"], encoding: .utf8)
    #expect(list.split(separator: "\n").count == 2 && list.contains("clips/clip-00001.mp4"))
    let again = try await Tool.run(arguments("--seed", "3", "--languages", "en,de"))
    #expect(again.status == 0 && again.text.contains("all 2 clips are there"))
    let more = try await Tool.run(arguments("--seed", "3", "--languages", "en,de", "--clips", "3", "-q"))
    #expect(more.status == 0 && more.text.isEmpty && more.error.isEmpty)
    #expect(
      try String(contentsOf: folder["clips/metadata.jsonl"], encoding: .utf8).hasPrefix(list))
    let other = try await Tool.run(arguments("--seed", "4", "--languages", "en,de"))
    #expect(other.status == 1 && other.complaints.count == 1 && other.error.contains("seed 3, not 4"))
  }

  @Test func `data portrait draws one person a seed`() async throws {
    func draw(_ seed: String, _ name: String) async throws -> (Tool.Result, Data) {
      let result = try await Tool.run("data", "portrait", "--seed", seed, "--size", "64", "-o", folder[name].path)
      return (result, (try? Data(contentsOf: folder[name])) ?? Data())
    }
    let (first, picture) = try await draw("7", "a.png")
    #expect(first.status == 0 && first.text.contains(" with ") && !picture.isEmpty)
    #expect(try await draw("7", "b.png").1 == picture)
    #expect(try await draw("8", "c.png").1 != picture)
    #expect(try await Tool.run("data", "portrait", "--seed", "1", "--size", "100", "-o", "x.png").status == 64)
  }

  @Test func `data synthesize refuses what it cannot do`() async throws {
    for (option, value) in [
      ("--size", "100"), ("--size", "big"), ("--size", "1024"), ("--size", "64x"), ("--seconds", "0"),
      ("--seconds", "nan"), ("--clips", "0"), ("--languages", "xx"), ("--languages", ""), ("--languages", "en,en"),
      ("--voices", "festival"), ("--voices", ""), ("--voices", "flite"), ("--voices", "flite,flite"),
      ("--speakers", "0"), ("--threads", "0"), ("--seed", "-1"),
    ] {
      let result = try await Tool.run(arguments("\(option)=\(value)"))
      #expect(result.status == 64, "\(option) \(value)")
      #expect(result.complaints.count == 1 && result.error.hasPrefix("livetalk: "), "\(result.error)")
    }
    #expect(!folder.content.contains("clips"))
    let file = try folder.file("clips", [1])
    let blocked = try await Tool.run(arguments())
    #expect(blocked.status == 1 && blocked.complaints.count == 1 && blocked.error.contains(file))
  }

  @Test func `data synthesize stopped by Ctrl-C leaves whole clips`() async throws {
    let list = folder["clips/metadata.jsonl"]
    let stopped = try await Tool.run(try Tool.executable(), arguments("--clips", "5000")) { process in
      Thread.detachNewThread {
        // As soon as there is a clip.
        for _ in 0..<600 {
          if let lines = try? Data(contentsOf: list), lines.contains(UInt8(ascii: "\n")) { break }
          usleep(50_000)
        }
        process.interrupt()
      }
    }
    #expect(stopped.status == 130 && stopped.error.contains("the same command goes on"))
    let names = try FileManager.default.contentsOfDirectory(atPath: folder["clips/clips"].path)
    #expect(!names.contains { $0.contains("partial") })
    #expect(try String(contentsOf: list, encoding: .utf8).hasSuffix("}\n"))
  }

  @Test func `data synthesize explains itself`() async throws {
    for command in [["data"], ["data", "synthesize"]] {
      let help = try await Tool.run(command + ["--help"])
      #expect(help.status == 0 && help.text.contains("OVERVIEW: ") && help.text.contains("synthesize"))
      #expect(help.text.split(separator: "\n").filter { !$0.hasPrefix("USAGE") }.allSatisfy { $0.count <= 80 })
    }
  }
}
