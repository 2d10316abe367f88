import Foundation
import Testing
import Torch

@testable import Training

@Suite struct MetricLogTests {
  func lines(_ folder: TemporaryFolder) throws -> [String] {
    let text = String(decoding: try Data(contentsOf: folder["metrics.jsonl"]), as: UTF8.self)
    return text.split(separator: "\n").map(String.init)
  }

  func events(_ folder: TemporaryFolder) throws -> [[UInt8]] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).filter { $0.contains("tfevents") }
    return try names.sorted().map { Array(try Data(contentsOf: folder[$0])) }
  }

  @Test func `Each logged step is one line of JSON`() throws {
    let folder = try TemporaryFolder()
    let log = try MetricLog(folder.url)
    try log.write(step: 1, [("loss", 0.1), ("a/\"b\"", 2)], now: Date(timeIntervalSince1970: 5.25))
    try log.write(step: 2, [("loss", .nan), ("norm", -.infinity)])
    let lines = try lines(folder)
    #expect(lines[0] == #"{"step": 1, "time": 5.250, "loss": 0.1, "a/\"b\"": 2.0}"#)
    let second = try JSONSerialization.jsonObject(with: Data(lines[1].utf8)) as? [String: Any]
    #expect(second?["loss"] as? String == "nan" && second?["norm"] as? String == "-inf")
  }

  @Test func `A resumed run goes on behind its checkpoint`() throws {
    let folder = try TemporaryFolder()
    var log: MetricLog? = try MetricLog(folder.url)
    for step in 1...5 { try log?.write(step: step, [("loss", Double(step))]) }
    log = nil
    let file = try FileHandle(forWritingTo: folder["metrics.jsonl"])
    try file.seekToEnd()
    try file.write(contentsOf: Data(#"{"step": 3, "lo"#.utf8))
    try file.close()
    let text = message { _ = try MetricLog(folder.url) }
    #expect(text.contains("the log of an earlier run"))
    let resumed = try MetricLog(folder.url, resumedStep: 3)
    try resumed.write(step: 4, [("loss", 44)])
    #expect(try lines(folder).map { String($0.prefix(10)) } == (1...4).map { #"{"step": \#($0)"# })
    #expect(try lines(folder).last?.contains("44.0") == true)
    #expect(try events(folder).count == 2)
  }

  @Test func `A place that cannot be written is refused`() throws {
    let folder = try TemporaryFolder()
    _ = try folder.write("", to: "file")
    #expect(message { _ = try MetricLog(folder["file"]) }.contains("cannot be made"))
  }

  @Test func `What cannot be appended whole leaves no half line`() throws {
    let file = try AppendedFile(URL(fileURLWithPath: "/dev/full"))
    #expect(message { try file.append([1, 2, 3]) }.contains("No space left on device"))
  }

  // MARK: TensorBoard

  @Test func `Each event lies in the file as TensorBoard writes it`() throws {
    let folder = try TemporaryFolder()
    let log = try MetricLog(folder.url, now: Date(timeIntervalSince1970: 1))
    try log.write(step: 300, [("loss", 0.5)], now: Date(timeIntervalSince1970: 2))
    try log.image(step: 300, "sample", png: [1, 2, 3], width: 4, height: 5, now: Date(timeIntervalSince1970: 2))
    let bytes = try #require(try events(folder).first)
    #expect(bytes.map { String(format: "%02x", $0) }.joined() == KnownEvents.file)
    let start = TensorBoardEvents.start(step: 4, time: 1)
    #expect(start.map { String(format: "%02x", $0) }.joined() == KnownEvents.start)
  }
}

@Suite struct TrainingProgressTests {
  @Test func `It tells step, loss, speed and the time left`() {
    var progress = TrainingProgress(totalSteps: 100, done: 20, time: 50)
    #expect(progress.text == "step 20 of 100")
    for step in 21...40 { progress.update(step: step, loss: 1 / Double(step), time: 50 + Double(step - 20) / 4) }
    #expect(progress.text == "step 40 of 100, loss 0.025, 4 steps a second, 0:15 left")
    progress.update(step: 41, loss: nil, time: 100)
    #expect(progress.text == "step 41 of 100, loss 0.025, 2.38 seconds a step, 2:20 left")
  }

  @Test func `The speed is that of the last steps`() {
    var progress = TrainingProgress(totalSteps: 1000, time: 0)
    for step in 1...50 { progress.update(step: step, loss: nil, time: Double(step)) }
    for step in 51...100 { progress.update(step: step, loss: nil, time: 50 + Double(step - 50) / 10) }
    #expect(abs((progress.stepsPerSecond ?? 0) - 10) < 1e-9)
    #expect(progress.text.hasPrefix("step 100 of 1000, 10 steps a second, 1:30 left"))
  }
}
