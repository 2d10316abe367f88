/// What a conversation has at hand beside the avatar.
package struct Abilities: Hashable, Sendable {
  /// Whether what the user says can be answered without being written down.
  package var responderHears: Bool
  package var hasTranscriber: Bool
  /// Whether there is somebody to read text aloud.
  package var hasVoice: Bool
  /// Whether an answer may be asked for that may have to be thrown away.
  package var preparesAnswers: Bool

  package init(responderHears: Bool, hasTranscriber: Bool, hasVoice: Bool, preparesAnswers: Bool = true) {
    (self.responderHears, self.hasTranscriber, self.hasVoice) = (responderHears, hasTranscriber, hasVoice)
    self.preparesAnswers = preparesAnswers
  }
}

/// A conversation between a user and an avatar: who speaks, whose turn it is, what is stopped and what goes on.
///
/// A value without a clock, a network or sound. It is told what happens and when, and answers with what is to be done, in order; `LiveSession`
/// does it. Times are seconds since the session's start and never go back.
package struct Conversation: Sendable {
  /// What happens.
  package enum Input: Hashable, Sendable {
    /// The probability of speech in the next window of the user's sound.
    case voice(Float)
    /// The words of the user's turn so far.
    case words(String, isFinal: Bool)
    /// The user's words could not be found out.
    case wordsFailed(SessionError)
    /// The user's turn is over.
    case commit
    /// Typed by the user.
    case text(String)
    case say(String)
    /// The client's own sound.
    case clientSpeech(seconds: Double)
    case clientSpeechEnded
    /// Stop the avatar.
    case interrupt
    /// An answer's or reading's parts.
    case heard(UtteranceID, String)
    case answerWords(UtteranceID, String, at: Double?)
    case answerSound(UtteranceID, seconds: Double)
    case answerDone(UtteranceID)
    case answerFailed(UtteranceID, SessionError)
    /// An utterance was played up to `seconds`; `sample` is where in the session it was then.
    case played(UtteranceID, seconds: Double, sample: Int, isLast: Bool)
    /// The engine failed.
    case failed(SessionError)
    case close(CloseReason)
    /// Nothing but the time.
    case tick
  }

  /// What is to be done.
  package enum Action: Hashable, Sendable {
    case tell(SessionEvent)
    /// Ask the responder; `hasSound`: with the sound of the turn.
    case respond(UtteranceID, history: [Turn], text: String?, hasSound: Bool)
    /// Ask the voice.
    case read(UtteranceID, String)
    /// Find out the words of the turn's sound so far.
    case transcribe(isFinal: Bool)
    /// The user's sound from a little before now on belongs to a turn.
    case startTurn
    /// The turn's sound is not needed any more.
    case forgetTurn(wasAnswered: Bool)
    case duck(Bool)
    /// What was prepared may be played: `secondsToEndOfTurn` is nil from now on.
    case release
    /// Stop playing an utterance where it is, and keep the rest.
    case hold(UtteranceID)
    /// Play on what is held.
    case resume(UtteranceID)
    /// No more sound of an utterance will come, though its maker did not say so.
    case finish(UtteranceID)
    /// Drop an utterance and stop its making.
    case cancel(UtteranceID)
    /// Tell the responder how much of its answer was heard.
    case truncate(UtteranceID, playedSeconds: Double, text: String)
    /// End the session.
    case end
  }

  /// What the user says or has just said.
  struct UserTurn: Hashable, Sendable {
    /// Of the parts before a turn was taken up again.
    var earlierWords = ""
    var words = ""
    var wordsAreFinal = false
    /// Whether it is in the history.
    var isRemembered = false
    /// Seconds of speech in pieces that are over.
    var speech = 0.0
    /// Seconds of sound since its start.
    var seconds = 0.0

    var text: String { (earlierWords + " " + words).trimmed }
  }

  /// An utterance that was stopped until it is known whether the user said anything.
  struct Hold: Hashable, Sendable {
    var utterance: UtteranceID
    var until: Double
    /// Seconds of the turn's sound that were written down last.
    var transcribed: Double
  }

  package private(set) var state = ConversationState.idle
  package internal(set) var history: [Turn] = []
  package let settings: TurnSettings
  package let abilities: Abilities

  /// In the order in which they are spoken; the first is the one under way.
  var utterances: [Utterance] = []
  var turn: UserTurn?
  /// The turn that is being answered, until the answer is heard: the user may take it up again.
  var answered: UserTurn?
  /// Silence that the answered turn still needs to be over, in seconds: until then its answer is prepared, not played. nil when it is over.
  package internal(set) var secondsToEndOfTurn: Double?
  /// What is told when the turn is over.
  var untold: [SessionEvent] = []
  var held: Hold?
  /// Until when the final words of a turn are awaited.
  var wordsDeadline: Double?
  /// Until when the first sound of an answer is awaited.
  var soundDeadline: Double?
  var detector: SpeechDetector
  var endOfTurn: EndOfTurn
  var isDucked = false
  /// Seconds of sound until the echo canceller has learnt.
  var warmUp: Double
  /// Seconds of the user's speech that count against the avatar's.
  var overlap = 0.0
  /// Whether the client sends words.
  var clientKnowsWords = false
  var isOver = false
  private var lastUtterance = 0
  private var lastWindow = 0.0
  private var lastActivity = 0.0
  var actions: [Action] = []

  package init(settings: TurnSettings = TurnSettings(), abilities: Abilities) {
    self.settings = settings
    self.abilities = abilities
    detector = SpeechDetector(settings)
    endOfTurn = EndOfTurn(settings)
    warmUp = settings.echoWarmUp
  }

  /// The silence that ends the user's turn now.
  package var endSilence: Double { endOfTurn.silence }

  /// The number of the client's utterance that is open, if any.
  package var clientUtterance: UtteranceID? { utterances.last { $0.source == .client && !$0.isWhole }?.id }

  /// Takes what happens and gives what is to be done.
  package mutating func handle(_ input: Input, at now: Double) -> [Action] {
    guard !isOver else { return [] }
    actions = []
    take(input, at: now)
    passTime(to: now)
    if !isOver { settle(at: now) }
    let next = isOver ? .idle : currentState
    if next != state {
      state = next
      if !isOver { tell(.state(next)) }
    }
    if state != .idle { lastActivity = now }
    defer { actions = [] }
    return actions
  }

  private mutating func take(_ input: Input, at now: Double) {
    switch input {
    case .voice(let probability):
      lastWindow = now
      hear(detector.take(probability), seconds: VoiceActivity.windowSeconds, at: now)
    case .words(let words, let isFinal): take(words: words, isFinal: isFinal, at: now)
    case .wordsFailed(let error): takeNoWords(error, at: now)
    case .commit: if turn != nil { endTurn(isAsked: true, at: now) } else { releaseAnswer() }
    case .text(let text): takeTyped(text, at: now)
    case .say(let text): takeReading(text)
    case .clientSpeech(let seconds): takeClientSpeech(seconds)
    case .clientSpeechEnded: takeClientSpeechEnd()
    case .interrupt:
      lastActivity = now
      wordsDeadline = nil
      cancelUtterances()
    case .heard(let id, let text): takeHeard(id, text)
    case .answerWords(let id, let text, let at): takeWords(id, text, at)
    case .answerSound(let id, let seconds): takeSound(id, seconds)
    case .answerDone(let id): takeDone(id)
    case .answerFailed(let id, let error): takeFailure(id, error)
    case .played(let id, let seconds, let sample, let isLast):
      takePlayed(id, seconds: seconds, sample: sample, isLast: isLast)
    case .failed(let error):
      tell(.error(error))
      end(.failed)
    case .close(let reason): end(reason)
    case .tick: break
    }
  }

  /// What follows from all the rest.
  private var currentState: ConversationState {
    if held != nil || secondsToEndOfTurn != nil { return .listening }
    if utterances.first?.isHeard == true { return .speaking }
    if wordsDeadline != nil || !utterances.isEmpty { return .thinking }
    return turn != nil ? .listening : .idle
  }

  private mutating func passTime(to now: Double) {
    guard !isOver else { return }
    // A microphone that has been switched off says nothing more.
    if turn != nil || secondsToEndOfTurn != nil, now - lastWindow > 0.5 {
      let seconds = now - lastWindow
      lastWindow = now
      hear(detector.pass(seconds), seconds: seconds, at: now)
    }
    if let held, now >= held.until, wordsDeadline == nil { resume() }
    if let deadline = wordsDeadline, now >= deadline { takeNoWords(nil, at: now) }
    if let deadline = soundDeadline, now >= deadline, let id = utterances.first?.id {
      takeFailure(
        id, SessionError(.responderTimedOut, "The answer did not come within \(Int(settings.longestThinking)) s."))
    }
    if let idleAfter = settings.idleAfter, state == .idle, now - lastActivity >= idleAfter {
      end(.idle)
    } else if let longest = settings.longestSession, now >= longest {
      end(.expired)
    }
  }

  private mutating func settle(at now: Double) {
    if utterances.isEmpty, wordsDeadline == nil, answered != nil {
      answered = nil
      if turn == nil { actions.append(.forgetTurn(wasAnswered: false)) }
    }
    // The answer was dropped, or another utterance took its place.
    if answered == nil { releaseAnswer() }
    startUtterances(at: now)
  }

  mutating func tell(_ event: SessionEvent) { actions.append(.tell(event)) }

  mutating func newUtterance(_ source: Utterance.Source) -> UtteranceID {
    lastUtterance += 1
    let id = UtteranceID(rawValue: lastUtterance)
    utterances.append(Utterance(id, source))
    return id
  }

  mutating func remember(_ turn: Turn) {
    guard !turn.text.isEmpty else { return }
    history.append(turn)
    history.removeFirst(max(0, history.count - settings.longestHistory))
  }

  private mutating func end(_ reason: CloseReason) {
    cancelUtterances()
    forgetTurn()
    isOver = true
    tell(.closed(reason))
    actions.append(.end)
  }
}
