import Basics
import Foundation
import Testing
import Torch
import Training

@Suite struct CheckpointFoldersTests {
  private struct State: Codable, Equatable {
    var step: Int
    var note = "a"
  }

  /// A folder that is removed with its owner.
  private final class Temporary {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("checkpoints-\(UUID().uuidString)")
    deinit { try? FileManager.default.removeItem(at: url) }

    var content: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []).sorted() }
  }

  private func save(_ folders: CheckpointFolders, step: Int, note: String = "a") throws {
    try folders.save(
      step: step, state: State(step: step, note: note),
      [
        TensorFile("student", [("w", Tensor.full([3], Double(step))), ("b", Tensor.ones([2], .bfloat16))]),
        TensorFile(
          "optimizer", [("master", Tensor.full([4], Double(step)))], metadata: ["share": "0 4"], isShard: true),
      ])
  }

  private func newest(_ folders: CheckpointFolders) throws -> (found: TrainingCheckpoint?, reports: [String]) {
    var reports: [String] = []
    let found = try folders.newest { reports.append($0) }
    return (found, reports)
  }

  @Test func `a checkpoint comes back as it was saved`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url)
    #expect(try newest(folders).found == nil)
    try save(folders, step: 7)
    try save(folders, step: 120)
    let (found, reports) = try newest(folders)
    let checkpoint = try #require(found)
    #expect(reports.isEmpty && checkpoint.step == 120 && checkpoint.ranks == 1)
    #expect(checkpoint.folder.lastPathComponent == "step-00000120")
    #expect(try checkpoint.state(State.self) == State(step: 120))
    #expect(try checkpoint.file("student").tensor("w").equals(Tensor.full([3], 120)))
    #expect(try checkpoint.file("student").tensor("b").dtype == .bfloat16)
    #expect(throws: FileError.self) { try checkpoint.file("critic") }
    let shards = try checkpoint.shards("optimizer")
    #expect(try shards.count == 1 && shards[0].tensor("master").equals(Tensor.full([4], 120)))
    #expect(shards[0].metadata == ["share": "0 4"])
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: checkpoint.folder.path).sorted()
        == ["manifest.json", "optimizer.rank0of1.safetensors", "state.json", "student.safetensors"])
  }

  @Test func `only the newest are kept, by number and not by name`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url, keeping: 2)
    for step in [5, 99_999_999, 100_000_000] { try save(folders, step: step) }
    #expect(place.content == ["step-100000000", "step-99999999"])
    #expect(try newest(folders).found?.step == 100_000_000)
  }

  @Test func `a checkpoint of the same step takes the place of the old one`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url)
    try save(folders, step: 5)
    try save(folders, step: 5, note: "b")
    #expect(place.content == ["step-00000005"])
    #expect(try #require(newest(folders).found).state(State.self).note == "b")
  }

  @Test func `an old checkpoint that was being replaced is still found`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url)
    try save(folders, step: 5)
    try FileManager.default.moveItem(
      at: place.url.appendingPathComponent("step-00000005"),
      to: place.url.appendingPathComponent("step-00000005.replaced"))
    #expect(try newest(folders).found?.step == 5)
  }

  @Test func `a damaged newest is named with its reason, and the one before it is used`() throws {
    for damage in ["shorter", "other", "gone", "no manifest", "torn manifest"] {
      let place = Temporary()
      let folders = CheckpointFolders(place.url)
      try save(folders, step: 1)
      try save(folders, step: 2)
      let newer = place.url.appendingPathComponent("step-00000002")
      let file = newer.appendingPathComponent("student.safetensors")
      let manifest = newer.appendingPathComponent("manifest.json")
      var data = try Data(contentsOf: file)
      let reason: String
      switch damage {
      case "shorter":
        try data.prefix(data.count - 3).write(to: file)
        reason = "student.safetensors has \(data.count - 3) bytes in place of \(data.count)"
      case "other":
        data[data.count - 2] ^= 1
        try data.write(to: file)
        reason = "the checksum of student.safetensors is wrong"
      case "gone":
        try FileManager.default.removeItem(at: file)
        reason = "student.safetensors is missing"
      case "no manifest":
        try FileManager.default.removeItem(at: manifest)
        reason = "it has no manifest"
      default:
        try Data(contentsOf: manifest).prefix(40).write(to: manifest)
        reason = "manifest.json is not a manifest"
      }
      let (found, reports) = try newest(folders)
      #expect(found?.step == 1)
      #expect(reports == ["The checkpoint \(newer.path) is damaged and passed over: \(reason)."])
    }
  }

  @Test func `checkpoints of which none is whole are an error, not a new beginning`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url)
    try save(folders, step: 1)
    try Data().write(to: place.url.appendingPathComponent("step-00000001/state.json"))
    let error = #expect(throws: LiveTalkError.self) { try newest(folders) }
    #expect(error?.description == "None of the checkpoints in \(place.url.path) is whole.")
  }

  @Test func `what an interrupted run left unfinished is removed`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url)
    try save(folders, step: 1)
    let partial = place.url.appendingPathComponent("step-00000002.partial")
    try FileManager.default.createDirectory(at: partial, withIntermediateDirectories: true)
    try Data([1]).write(to: partial.appendingPathComponent("student.safetensors"))
    #expect(try newest(folders).found?.step == 1)
    #expect(place.content == ["step-00000001"])
  }

  @Test func `a failure while writing leaves the earlier checkpoints and nothing else`() throws {
    let place = Temporary()
    let folders = CheckpointFolders(place.url, keeping: 1)
    try save(folders, step: 1)
    let failing = TensorFile("student", layout: [("w", .float32, [3]), ("b", .float32, [3])]) { name in
      if name == "w" { return Tensor.ones([3]) }
      throw LiveTalkError("There is no tensor \(name).")
    }
    #expect(throws: LiveTalkError.self) { try folders.save(step: 2, state: State(step: 2), [failing]) }
    #expect(place.content == ["step-00000001"])
    #expect(try newest(folders).found?.step == 1)
  }

  @Test func `a state of another shape is refused with the file's name`() throws {
    struct Other: Codable { let epoch: Int }
    let place = Temporary()
    let folders = CheckpointFolders(place.url)
    try save(folders, step: 1)
    let checkpoint = try #require(newest(folders).found)
    let error = #expect(throws: LiveTalkError.self) { try checkpoint.state(Other.self) }
    #expect(error?.description.contains("step-00000001/state.json does not hold the state of this training") == true)
  }
}
