import Basics
import Foundation
import Generation
import Media
import Testing
import Torch

@testable import Datasets

@Suite struct ReferenceChoiceTests {
  private let size = ReferencePicture.Size(height: 64, width: 64)

  /// A disc in the middle, moved aside and blurred.
  private func frame(shift: Int = 0, blur: Double = 1, colour: [UInt8] = [220, 170, 140]) -> [UInt8] {
    pixels(64, 64) { x, y in
      let distance = (Double((x - 32 - shift) * (x - 32 - shift) + (y - 32) * (y - 32))).squareRoot()
      let share = max(0, min(1, (20 - distance) / blur + 0.5))
      return colour.map { UInt8(30 + (Double($0) - 30) * share) }
    }
  }

  @Test func `the sharper of two frames is better`() {
    let scores = [1.0, 4, 12].map { ReferenceChoice.score(frame(blur: $0), size, pose: nil) }
    #expect(scores[0] > scores[1] && scores[1] > scores[2])
  }

  @Test func `without a pose the more symmetric of two frames is better`() {
    let scores = [0, 6, 14].map { ReferenceChoice.score(frame(shift: $0), size, pose: nil) }
    #expect(scores[0] > scores[1] && scores[1] > scores[2])
  }

  /// What is known of a frame with this pose.
  private func pose(yaw: Double, pitch: Double) throws -> ClipTruth.Frame {
    try JSONDecoder().decode(ClipTruth.Frame.self, from: Data("{\"yaw\": \(yaw), \"pitch\": \(pitch)}".utf8))
  }

  @Test func `a pose that is known decides over symmetry`() throws {
    let front = ReferenceChoice.score(frame(shift: 10), size, pose: try pose(yaw: 0, pitch: 0))
    let turned = ReferenceChoice.score(frame(), size, pose: try pose(yaw: 30, pitch: 0))
    let raised = ReferenceChoice.score(frame(), size, pose: try pose(yaw: 0, pitch: -30))
    #expect(front > turned && abs(turned - raised) < 1e-9)
    let ahead = ReferenceChoice.score(frame(), size, pose: try pose(yaw: 0, pitch: 0))
    #expect(abs(turned / ahead - exp(-2)) < 1e-6)
  }

  @Test func `a picture fits its own clip and not another one`() {
    let frames = (0..<5).map { frame(shift: $0) }
    let own = ReferencePicture.tensor(Picture(width: 64, height: 64, bytes: frames[2]))
    #expect(ReferenceChoice.consistency(own, frames, size) > 0.8)
    let other = pixels(64, 64) { x, _ in x % 16 < 8 ? [0, 255, 0] : [0, 0, 255] }
    let score = ReferenceChoice.consistency(
      ReferencePicture.tensor(Picture(width: 64, height: 64, bytes: other)), frames, size)
    #expect(score < 0.15, "\(score)")
  }
}

@Suite struct MotionCaptionTests {
  @Test func `stillness, calm and liveliness get sentences of their own`() {
    func frames(_ step: Int) -> [[UInt8]] {
      (0..<4).map { [UInt8](repeating: UInt8(100 + $0 * step), count: 300) }
    }
    #expect(MotionCaption.movement(frames(0)) == 0 && MotionCaption.movement([]) == 0)
    #expect(abs(MotionCaption.movement(frames(3)) - 3.0 / 255) < 1e-9)
    let captions = [0, 3, 30].map { MotionCaption.caption(frames($0)) }
    #expect(captions[0].contains("almost still") && captions[1].contains("calm") && captions[2].contains("lively"))
  }
}

@Suite struct ExternalToolTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func tool(_ script: String, _ arguments: String = "", places: [String] = ["in", "out"]) throws -> ExternalTool
  {
    let url = scratch["tool with space.sh"]
    try Data("#!/bin/sh\n\(script)\n".utf8).write(to: url)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: url.path)
    return try ExternalTool("'\(url.path)' \(arguments)", places: places)
  }

  @Test func `words are parted as a shell parts them, and nothing more`() throws {
    #expect(
      try ExternalTool.words(#"a 'b c' "d \" e" f\ g '' $HOME;ls"#) == ["a", "b c", #"d " e"#, "f g", "", "$HOME;ls"])
    #expect(sentence { try ExternalTool.words("a 'b") }.contains("not closed"))
  }

  @Test func `arguments arrive whole, and no shell sees them`() throws {
    let tool = try tool(#"for word; do echo "<$word>"; done"#, "--from={in} {out} \"$(touch x)\" '*'")
    let output = try tool.run(["in": "a b; rm", "out": "$HOME"], seconds: 20)
    #expect(output == "<--from=a b; rm>\n<$HOME>\n<$(touch x)>\n<*>\n")
    // Without a place for it, the first value stands at the end.
    #expect(try self.tool("echo \"$@\"", "-x", places: ["video"]).run(["video": "v.mp4"], seconds: 20) == "-x v.mp4\n")
  }

  @Test func `a failure says the status and the last words`() throws {
    let text = sentence { try tool("echo first >&2; echo no memory >&2; exit 3").run([:], seconds: 20) }
    #expect(text.contains("status 3") && text.contains("no memory") && !text.contains("first"))
    #expect(sentence { try tool("kill -9 $$").run([:], seconds: 20) }.contains("signal 9"))
  }

  @Test func `a program that takes too long is ended, even one that ignores it`() throws {
    let start = Date()
    #expect(
      sentence { try tool("trap '' TERM; while :; do sleep 0.1; done").run([:], seconds: 0.3) }.contains("longer"))
    #expect(Date().timeIntervalSince(start) < 15)
  }

  @Test func `a program that is not there is refused before anything runs`() {
    #expect(sentence { try ExternalTool("no-such-program-here {in}", places: ["in"]) }.contains("no-such-program-here"))
    #expect(sentence { try ExternalTool("/etc/passwd {in}", places: ["in"]) }.contains("/etc/passwd"))
    #expect(sentence { try ExternalTool("  ", places: ["in"]) }.contains("without a program"))
    #expect(throws: Never.self) { try ExternalTool("sh -c true", places: ["in"]) }
  }
}

@Suite struct OrderedPrefetchTests {
  @Test(arguments: [1, 2, 5])
  func `values come in order, and no more are made than may wait`(threads: Int) {
    let made = Counter()
    let prefetch = OrderedPrefetch(count: 40, threads: threads) { number -> Int in
      made.add()
      if number % 7 == 0 { usleep(3000) }
      return number * number
    }
    for number in 0..<40 {
      #expect(prefetch.take() == number * number)
      #expect(made.value <= number + 1 + threads)
    }
    #expect(prefetch.take() == nil)
    prefetch.stop()
  }

  @Test func `it can be stopped on the way`() {
    let made = Counter()
    let prefetch = OrderedPrefetch(count: 1000, threads: 2) { number -> Int in
      made.add()
      return number
    }
    #expect(prefetch.take() == 0)
    prefetch.stop()
    let count = made.value
    usleep(2000)
    #expect(made.value == count && count < 10)
  }
}

// Unchecked for what the lock guards.
private final class Counter: @unchecked Sendable {
  private let lock = NSLock()
  private var count = 0
  var value: Int { lock.withLock { count } }
  func add() { lock.withLock { count += 1 } }
}
