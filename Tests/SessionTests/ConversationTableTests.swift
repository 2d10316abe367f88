import Testing

@testable import Session

/// Every input in every state: where it leads, and what it asks for besides telling the client.
@Suite struct ConversationTableTests {
  static func talk(_ state: ConversationState) -> Talk {
    var talk: Talk
    switch state {
    case .idle: talk = Talk()
    case .listening: talk = .listening()
    case .thinking: talk = .thinking()
    case .speaking: talk = .speaking()
    }
    talk.log = []
    return talk
  }

  struct Row: Sendable, CustomStringConvertible {
    let input: Conversation.Input
    let to: ConversationState
    let deeds: Int
    let finishes: Int
    var description: String { "\(input)" }
  }

  private static let error = SessionError(.responderFailed, "No.")

  /// Input, next state, number of deeds, utterances that are finished.
  private static func row(
    _ input: Conversation.Input, _ to: ConversationState, _ deeds: Int = 0, _ finishes: Int = 0
  ) -> Row { Row(input: input, to: to, deeds: deeds, finishes: finishes) }

  static let idle: [Row] = [
    row(.voice(0.9), .idle),
    row(.voice(0.1), .idle),
    row(.words("hello", isFinal: false), .idle),
    row(.words("hello", isFinal: true), .thinking, 1),
    row(.wordsFailed(error), .idle),
    row(.commit, .idle),
    row(.text("hello"), .thinking, 1),
    row(.text(" "), .idle),
    row(.say("hello"), .thinking, 1),
    row(.say(" "), .idle),
    row(.clientSpeech(seconds: 1), .thinking),
    row(.clientSpeechEnded, .idle),
    row(.interrupt, .idle),
    row(.heard(first, "a"), .idle),
    row(.answerWords(first, "a", at: nil), .idle),
    row(.answerSound(first, seconds: 1), .idle),
    row(.answerDone(first), .idle),
    row(.answerFailed(first, error), .idle),
    row(.played(first, seconds: 1, sample: 0, isLast: true), .idle),
    row(.failed(error), .idle, 1),
    row(.close(.client), .idle, 1),
    row(.tick, .idle),
  ]

  static let listening: [Row] = [
    row(.voice(0.9), .listening),
    row(.voice(0.1), .listening),
    row(.words("hello", isFinal: false), .listening),
    row(.words("hello", isFinal: true), .listening),
    row(.wordsFailed(error), .listening),
    row(.commit, .thinking, 1),
    row(.text("hello"), .thinking, 2),
    row(.say("hello"), .thinking, 1),
    row(.clientSpeech(seconds: 1), .thinking),
    row(.clientSpeechEnded, .listening),
    row(.interrupt, .listening),
    row(.heard(first, "a"), .listening),
    row(.answerWords(first, "a", at: nil), .listening),
    row(.answerSound(first, seconds: 1), .listening),
    row(.answerDone(first), .listening),
    row(.answerFailed(first, error), .listening),
    row(.played(first, seconds: 1, sample: 0, isLast: true), .listening),
    row(.failed(error), .idle, 2),
    row(.close(.draining), .idle, 2),
    row(.tick, .listening),
  ]

  static let thinking: [Row] = [
    row(.voice(0.9), .thinking),
    row(.voice(0.1), .thinking),
    row(.words("hello", isFinal: false), .thinking),
    row(.words("hello", isFinal: true), .thinking),
    row(.wordsFailed(error), .thinking),
    row(.commit, .thinking),
    row(.text("hello"), .thinking, 4, 1),
    row(.say("hello"), .thinking),
    row(.clientSpeech(seconds: 1), .thinking),
    row(.clientSpeechEnded, .thinking),
    row(.interrupt, .idle, 3, 1),
    row(.heard(first, "a"), .thinking),
    row(.answerWords(first, "a", at: nil), .thinking),
    row(.answerSound(first, seconds: 1), .thinking),
    row(.answerDone(first), .idle, 1, 1),
    row(.answerFailed(first, error), .thinking, 2, 1),
    row(.played(first, seconds: 1, sample: 0, isLast: false), .speaking, 1),
    row(.failed(error), .idle, 4, 1),
    row(.close(.idle), .idle, 4, 1),
    row(.tick, .thinking),
  ]

  static let speaking: [Row] = [
    row(.voice(0.9), .speaking),
    row(.voice(0.1), .speaking),
    row(.words("hello", isFinal: false), .speaking),
    row(.words("hello", isFinal: true), .speaking),
    row(.wordsFailed(error), .speaking),
    row(.commit, .speaking),
    row(.text("hello"), .thinking, 3, 1),
    row(.say("hello"), .speaking, 1),
    row(.clientSpeech(seconds: 1), .speaking),
    row(.clientSpeechEnded, .speaking),
    row(.interrupt, .idle, 2, 1),
    row(.heard(first, "a"), .speaking),
    row(.answerWords(first, "a", at: nil), .speaking),
    row(.answerSound(first, seconds: 1), .speaking),
    row(.answerDone(first), .speaking),
    row(.answerFailed(first, error), .speaking, 2),
    row(.played(first, seconds: 10, sample: 0, isLast: true), .idle, 0, 1),
    row(.failed(error), .idle, 3, 1),
    row(.close(.client), .idle, 3, 1),
    row(.tick, .speaking),
  ]

  static let table: [ConversationState: [Row]] = [
    .idle: idle, .listening: listening, .thinking: thinking, .speaking: speaking,
  ]

  @Test func `the table has every input for every state`() {
    func kind(_ input: Conversation.Input) -> Substring { "\(input)".prefix { $0 != "(" } }
    for state in ConversationState.allCases {
      let kinds = Set(Self.table[state]!.map { kind($0.input) })
      #expect(kinds.count == 18, "\(state): \(kinds)")
    }
  }

  @Test(arguments: ConversationState.allCases) func `every input in every state`(state: ConversationState) {
    for row in Self.table[state]! {
      var talk = Self.talk(state)
      #expect(talk.state == state)
      talk.take(row.input)
      #expect(talk.state == row.to, "\(row.input)")
      #expect(talk.deeds.count == row.deeds, "\(row.input): \(talk.deeds)")
      #expect(finished(talk.events).count == row.finishes, "\(row.input)")
      #expect(talk.states == (row.to == state || talk.conversation.isOver ? [] : [row.to]), "\(row.input)")
    }
  }

  @Test func `whatever comes in whatever order, every utterance is finished once and started at most once`() {
    var generator = SplitMix(state: 7)
    let rows = Self.idle + Self.listening
    for _ in 0..<300 {
      var talk = Talk(
        hears: generator.next() % 2 == 0, transcriber: generator.next() % 2 == 0, prepares: generator.next() % 2 == 0)
      var ids: Set<UtteranceID> = []
      for _ in 0..<300 {
        let row = rows[Int(generator.next() % UInt64(rows.count))]
        switch row.input {
        case .close, .failed: continue
        case .answerSound, .answerDone, .answerWords, .answerFailed, .played:
          guard let utterance = talk.conversation.utterances.first else { continue }
          switch generator.next() % 4 {
          case 0: talk.answer(seconds: 1, isWhole: generator.next() % 2 == 0)
          case 1: talk.play(to: utterance.received, isLast: utterance.isWhole)
          case 2: talk.take(.answerFailed(utterance.id, SessionError(.voiceFailed, "No.")))
          default: talk.take(.answerDone(utterance.id))
          }
        case .voice(let probability): talk.hear(probability, for: Double(generator.next() % 40) * 0.032)
        default: talk.take(row.input)
        }
        ids.formUnion(talk.conversation.utterances.map(\.id))
      }
      talk.take(.close(.client))
      let finishes = finished(talk.events)
      #expect(finishes.count == Set(finishes).count && ids.isSubset(of: finishes))
      let starts = talk.events.compactMap { if case .playbackStarted(let id, _) = $0 { id } else { nil } }
      #expect(starts.count == Set(starts).count)
      #expect(zip(talk.states, talk.states.dropFirst()).allSatisfy { $0 != $1 })
      #expect(talk.conversation.untold.isEmpty)
    }
  }
}

struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
