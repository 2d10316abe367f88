@testable import Session

/// A conversation with a clock of its own, and all that it said to do.
struct Talk {
  typealias Action = Conversation.Action

  var conversation: Conversation
  var now = 0.0
  /// With the time at which each came.
  var log: [(time: Double, action: Action)] = []

  init(
    hears: Bool = true, transcriber: Bool = false, voice: Bool = true, prepares: Bool = false,
    _ change: (inout TurnSettings) -> Void = { _ in }
  ) {
    var settings = TurnSettings()
    // Most tests are about answers that are asked for when the turn is over.
    settings.preparesAnswers = prepares
    // Most tests are about an avatar that has been heard before.
    settings.echoWarmUp = 0
    change(&settings)
    conversation = Conversation(
      settings: settings,
      abilities: Abilities(responderHears: hears, hasTranscriber: transcriber, hasVoice: voice))
  }

  var state: ConversationState { conversation.state }
  var events: [SessionEvent] { log.compactMap { if case .tell(let event) = $0.action { event } else { nil } } }
  var states: [ConversationState] { events.compactMap { if case .state(let state) = $0 { state } else { nil } } }
  /// The actions that are no events.
  var deeds: [Action] { log.map(\.action).filter { if case .tell = $0 { false } else { true } } }

  func time(of action: Action) -> Double? { log.first { $0.action == action }?.time }

  @discardableResult
  mutating func take(_ input: Conversation.Input) -> [Action] {
    let actions = conversation.handle(input, at: now)
    log += actions.map { (now, $0) }
    return actions
  }

  /// Windows of the user's sound.
  mutating func hear(_ probability: Float, for seconds: Double) {
    for _ in 0..<Int((seconds / VoiceActivity.windowSeconds).rounded()) {
      now += VoiceActivity.windowSeconds
      take(.voice(probability))
    }
  }

  mutating func speech(_ seconds: Double) { hear(0.9, for: seconds) }
  mutating func silence(_ seconds: Double) { hear(0.05, for: seconds) }

  /// Time in which nothing happens.
  mutating func wait(_ seconds: Double) {
    let end = now + seconds
    while now < end - 1e-9 {
      now = min(end, now + 0.0625)
      take(.tick)
    }
  }

  /// The answer under way comes with so much sound and these words.
  mutating func answer(_ words: String = "One two three four.", seconds: Double = 4, isWhole: Bool = true) {
    let id = conversation.utterances[0].id
    take(.answerWords(id, words, at: 0))
    take(.answerSound(id, seconds: seconds))
    if isWhole { take(.answerDone(id)) }
  }

  /// The avatar's first utterance is played to this second, in steps of a picture, while the user's sound has this probability.
  mutating func play(to seconds: Double, hearing probability: Float? = nil, isLast: Bool = false) {
    guard let utterance = conversation.utterances.first else { return }
    var position = utterance.played
    while position < seconds - 1e-9 {
      position = min(seconds, position + 0.0625)
      now += 0.0625
      if let probability { for _ in 0..<2 { take(.voice(probability)) } }
      take(
        .played(
          utterance.id, seconds: position, sample: Int(now * 48000), isLast: isLast && position >= seconds - 1e-9))
    }
  }

  /// To an avatar that speaks a long answer to a spoken turn.
  static func speaking(
    hears: Bool = true, transcriber: Bool = false, _ change: (inout TurnSettings) -> Void = { _ in }
  ) -> Talk {
    var talk = Talk(hears: hears, transcriber: transcriber, change)
    talk.take(.text("Hello."))
    talk.answer(seconds: 10)
    talk.play(to: 3)
    talk.log = []
    return talk
  }

  /// To an answer that is awaited, of a turn of one second.
  static func thinking(transcriber: Bool = false) -> Talk {
    var talk = Talk(transcriber: transcriber)
    talk.speech(1)
    talk.silence(0.55)
    talk.log = []
    return talk
  }

  static func listening(hears: Bool = true, transcriber: Bool = false, prepares: Bool = false) -> Talk {
    var talk = Talk(hears: hears, transcriber: transcriber, prepares: prepares)
    talk.speech(1)
    talk.log = []
    return talk
  }
}

let first = UtteranceID(rawValue: 1)
let second = UtteranceID(rawValue: 2)
let third = UtteranceID(rawValue: 3)

func finished(_ events: [SessionEvent]) -> [UtteranceID] {
  events.compactMap { if case .playbackFinished(let id, _, _, _) = $0 { id } else { nil } }
}
