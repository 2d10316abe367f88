import Basics
import Foundation
import Media
import TestClients
import Testing

@testable import Server

/// Somebody who uses the page in a real browser, in real time: `make live` runs it.
@Suite(
  .serialized, .enabled(if: TestClients.chromium != nil, "a Chromium is needed"),
  .enabled(if: ProcessInfo.processInfo.environment["LIVETALK_LIVE_TESTS"] != nil, "make live runs them"))
struct PageUserLiveTests {
  private struct Captions: Decodable {
    /// What stands in the page, each time that it changes.
    struct Line: Decodable {
      /// Since the utterance's first sample was heard.
      let seconds: Double
      /// The caption's words, and those of its line that are to come; the newest turn of the avatar.
      let heard, next, turn: String
      /// Whether the turn was interrupted; whether a screen reader is to wait for the rest of it.
      let isCut, isBusy: Bool
    }
    let said: String
    let heard, cut: [Line]
  }

  /// The mock's voice says ten letters a second.
  @Test func wordsAppearWhenTheyAreHeardAndAnInterruptionLeavesThoseThatWere() async throws {
    try await use("captions") { (report: Captions) in
      let (heard, said) = (report.heard, report.said)
      var start = said.startIndex
      var late: [Double] = []
      for word in said.split(separator: " ") {
        let shown = try #require(heard.first { $0.turn.hasPrefix(said[..<word.endIndex]) }, "\(word) never appears")
        late.append(shown.seconds - Double(said.distance(from: said.startIndex, to: start)) / 10)
        start = said.index(word.endIndex, offsetBy: 1, limitedBy: said.endIndex) ?? said.endIndex
      }
      print("words appear \(late.map { String(format: "%.2f", $0) }.joined(separator: ", ")) s after they begin")
      #expect(late.allSatisfy { abs($0) < 0.5 }, "\(late)")
      let spoken = heard.filter { !$0.heard.isEmpty }
      #expect(spoken.allSatisfy { $0.turn.hasSuffix($0.heard) && said.hasPrefix($0.turn) })
      #expect(spoken.allSatisfy { ($0.heard + $0.next).count <= 64 }, "a caption is two lines")
      #expect(heard.last?.heard == "" && heard.last?.turn == said, "the caption goes, the turn stays")

      let cut = try #require(report.cut.firstIndex { $0.isCut })
      let (before, after) = (report.cut[..<cut], report.cut[cut...])
      let left = try #require(after.last)
      #expect(before.last?.isBusy == true && !left.isBusy, "the turn is read out when it is whole")
      #expect(left.turn.count > 5 && left.turn.count < said.count && said.hasPrefix(left.turn), "\(left.turn)")
      #expect(before.last.map { $0.turn.hasPrefix(left.turn) } == true, "only what was heard is left")
      #expect(after.allSatisfy { $0.turn == left.turn } && left.heard == "", "nothing is shown any more")
    }
  }

  private struct Pictures: Decodable {
    let told, chosen: [String]
    let name: String
    /// RGBA of the left and the right half of the portrait beside the conversation.
    let colours: [Int]
    let asksForIt: Bool
  }

  @Test func aPictureOfOnesOwnIsTalkedToAndOtherFilesAreRefusedInPlainWords() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = ["letter.png", "large.png", "my aunt.png"].map { folder.appendingPathComponent($0) }
    try Data("Dear aunt,\n".utf8).write(to: files[0])
    try Data(count: 11 << 20).write(to: files[1])
    let (red, blue): ([UInt8], [UInt8]) = ([220, 30, 30], [30, 30, 220])
    let picture = Picture(width: 96, height: 96, bytes: (0..<(96 * 96)).flatMap { $0 % 96 < 48 ? red : blue })
    try picture.writePNG(to: files[2].path)
    try await use("pictures", files.map(\.path)) { (report: Pictures) in
      #expect(
        report.told == [
          "The picture that was sent cannot be read: it is no JPEG, PNG or WebP.", "A picture has at most 10 MiB.", "",
        ])
      #expect(report.chosen == ["my aunt"] && report.name == "my aunt")
      #expect(report.asksForIt)
      #expect(
        zip(report.colours, [220, 30, 30, 255, 30, 30, 220, 255]).allSatisfy { abs($0 - $1) < 24 }, "\(report.colours)")
    }
  }

  private struct Keyboard: Decodable {
    /// Where Tab leads, and back; where it leads without a ring around it.
    let lobby, talk, backwards, unseen: [String]
    /// Roles and names of what can be used, as a screen reader is told; what tells of itself.
    let lobbyControls, talkControls, live: [String]
    /// Where the focus is when a conversation begins, and when it is over.
    let begins, ends: String
    let escape, button, held, pressed: Bool
  }

  @Test func keysReachEverythingAndAScreenReaderIsToldWhatItIs() async throws {
    try await use("keyboard") { (report: Keyboard) in
      #expect(report.lobby == ["skip", "person", "visually-hidden", "summary", "start"])
      let order = ["leave", "log", "talk", "interrupt", "handsfree", "text", "send"]
      #expect(report.talk == order, "Tab leads on, and out of the page behind the last")
      #expect(report.backwards == order.reversed() + ["skip"])
      #expect(report.unseen == [])
      #expect(
        report.lobbyControls == [
          "DisclosureTriangle: Direction", "button: Start the conversation", "button: Your own picture",
          "link: Skip to the conversation", "radio: Ada",
        ])
      #expect(
        report.talkControls == [
          "button: End the conversation", "button: Hold to talk", "button: Interrupt", "button: Send",
          "checkbox: Hands-free", "link: Skip to the conversation", "log: What was said", "textbox: Your message",
        ])
      #expect(report.live == ["log: polite", "status: polite"])
      #expect(report.begins == "main" && report.ends == "start")
      #expect(report.escape, "Escape interrupts")
      #expect(report.button, "the button interrupts and keeps the focus")
      #expect(report.held && report.pressed, "Space is held to talk; Enter on the button begins and ends a turn")
    }
  }

  private struct Phone: Decodable {
    struct Survey: Decodable {
      let view: String
      /// Pixels that the page is too wide.
      let sideways: Int
      /// What reaches out of the window, is less than 44 pixels high or wide, is covered, or has a contrast of less than 4.5.
      let outside, small, hidden, faint: [String]
      /// Controls that one has to scroll to.
      let below: [String]
      let ground: String
      /// The height of the avatar's picture where all of it is in the window, else 0.
      let picture: Double
    }
    let surveys: [Survey]
  }

  @Test func aPhoneShowsAllOfThePageInLightAndDark() async throws {
    try await use("phone") { (report: Phone) in
      let surveys = report.surveys
      #expect(surveys.count == 12)
      for survey in surveys {
        #expect(survey.sideways <= 0 && survey.outside == [], "\(survey)")
        #expect(survey.small == [] && survey.hidden == [] && survey.faint == [], "\(survey)")
        if survey.view.hasPrefix("talk") { #expect(survey.picture >= 200 && survey.below == [], "\(survey)") }
      }
      #expect(Set(surveys.map(\.ground)).count == 2)
    }
  }

  private static let token = "a-token-of-this-test"

  private struct Token: Decodable {
    /// What the dialog says of the token before, each time that it is open.
    let seen: [String]
  }

  @Test func aTokenThatIsRefusedIsAskedForAgainWithTheReason() async throws {
    try await use("token", [Self.token], token: Self.token) { (report: Token) in
      #expect(report.seen == ["", "The server does not know this token. Look at it once more."])
    }
  }

  private func use<Report: Decodable & Sendable>(
    _ task: String, _ files: [String] = [], token: String? = nil, _ check: @Sendable @escaping (Report) throws -> Void
  ) async throws {
    try await RunningServer.with(token: token) { server in
      let script = TestClients.tests.appendingPathComponent("ServerTests/Clients/page_user.py").path
      let browser = try #require(TestClients.chromium)
      let user = try ClientProcess(
        "/usr/bin/env", ["python3", script, "--browser", browser, "--port", "\(server.port)", task] + files)
      try check(try await user.next(Report.self))
    }
  }
}
