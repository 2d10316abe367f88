import Foundation
import Testing

@Suite struct ManualTests {
  @Test func `every command explains itself`() async throws {
    let commands: [[String]] = [
      [], ["generate"], ["checkpoint"], ["checkpoint", "inspect"], ["checkpoint", "init"], ["checkpoint", "merge"],
      ["checkpoint", "average"],
      ["parity"], ["doctor"],
    ]
    for command in commands {
      let help = try await Tool.run(command + ["--help"])
      #expect(help.status == 0 && help.error.isEmpty)
      #expect(help.text.contains("OVERVIEW: ") && help.text.contains("USAGE: livetalk"))
      // An abstract and something to read below it.
      #expect(help.text.split(separator: "\n").count >= 10, "\(command)")
      // What is set out in columns must not be broken by the width of a terminal.
      #expect(help.text.split(separator: "\n").filter { !$0.hasPrefix("USAGE") }.allSatisfy { $0.count <= 80 })
    }
  }

  @Test func `the version is told`() async throws {
    let result = try await Tool.run("--version")
    #expect(result.status == 0 && result.text.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil)
  }

  @Test(arguments: ["livetalk", "livetalk-compute"])
  func `doctor says what is here and what is missing`(program: String) async throws {
    let fine = try await Tool.run("doctor", program: program)
    #expect(
      fine.status == 0 && fine.text.contains("libtorch") && fine.text.contains("GPU") || fine.text.contains("CUDA"))
    guard program == "livetalk" else { return }
    #expect(fine.text.contains("H.264"))
    let whole = try await Tool.run("doctor", "--checkpoint", try await Fixtures.checkpoint.value)
    #expect(whole.status == 0 && whole.text.contains("random weights"))
    let folder = try Folder()
    let lacking = try await Tool.run("doctor", "--checkpoint", folder.url.path)
    #expect(lacking.status == 1 && lacking.text.contains("GAIR/LiveTalk-1.3B-V0.1"))
  }

  @Test(arguments: ["livetalk", "livetalk-compute"])
  func `parity passes on goldens and fails on altered ones`(program: String) async throws {
    let folder = try Folder()
    let golden = Fixtures.goldens.appendingPathComponent("schedule/convert")
    let good = try await Tool.run("parity", golden.path, Fixtures.goldens.path + "/image", program: program)
    #expect(good.status == 0, "\(good.text)\(good.error)")
    #expect(good.text.contains("schedule/convert: max abs diff") && good.text.contains("3 of 3 cases passed"))
    try FileManager.default.copyItem(at: golden, to: folder["altered"])
    let file = folder["altered/outputs.safetensors"]
    var bytes = try Data(contentsOf: file)
    // The exponent of one value near the end.
    bytes[bytes.count - 1] ^= 0x10
    try bytes.write(to: file)
    let bad = try await Tool.run("parity", program: program, environment: ["LIVETALK_GOLDENS": folder.url.path])
    #expect(bad.status == 1 && bad.text.contains("FAILED") && bad.text.contains("0 of 1 cases passed"))
    let none = try await Tool.run("parity", folder["nothing"].path, program: program)
    #expect(none.status == 1 && none.complaints.count == 1)
  }
}
