package import Basics

/// How a live session plays. Times are seconds.
package struct LiveSettings: Hashable, Sendable, Codable {
  package var turns = TurnSettings()
  /// How much before its time a frame leaves.
  package var lead = 0.06
  /// Between two reports of metrics.
  package var metricsInterval = 1.0
  /// The longest utterance.
  package var longestUtterance = 600.0
  /// User's sound that may wait to be heard.
  package var longestUserSound = 10.0
  /// A client that told what it played and does not for so long is taken to play what it is sent.
  package var longestSilenceOfPlayer = 2.0

  package init() {}
}

/// Whom a session talks through.
package struct LiveParts: Sendable {
  package var responder: any Responder
  package var voice: (any Voice)?
  package var transcriber: (any Transcriber)?
  /// nil where only the button of push-to-talk says that the user speaks.
  package var detector: (any VoiceActivityDetector)?
  /// The server's avatars by name; nil for an unknown one.
  package var avatar: @Sendable (String) async throws -> Picture?

  package init(
    responder: any Responder, voice: (any Voice)? = nil, transcriber: (any Transcriber)? = nil,
    detector: (any VoiceActivityDetector)? = nil,
    avatar: @escaping @Sendable (String) async throws -> Picture? = { _ in nil }
  ) {
    (self.responder, self.voice, self.transcriber) = (responder, voice, transcriber)
    (self.detector, self.avatar) = (detector, avatar)
  }
}

/// A live conversation with one avatar: does what `Conversation` decides, over an engine's session, and plays in real time.
///
/// Nothing is generated further ahead than one block. Silence is generated as late as the machine allows and gives way to speech at
/// once; the picture then jumps by as much silence as was waiting.
package actor LiveSession: SessionHandle {
  package nonisolated let format: StreamFormat
  let engine: any EngineSession
  let parts: LiveParts
  let settings: LiveSettings
  let clock: any SessionClock
  let start: Double

  var conversation: Conversation
  var queue: PlaybackQueue
  var gain: Gain
  var metrics = SessionMetrics()
  var blockTimes = BlockTimes()
  var isOver = false

  // Playing
  /// The time at which sample 0 is played; nil before the first block.
  var origin: Double?
  var nextSample = 0
  var nextIndex = 0
  var lastPicture: Picture?
  var isHolding = false
  /// Seconds of the newest block.
  var blockDuration = 0.0
  var isProducing = false
  /// Frames that left and were not told to be played yet.
  var leaving: [Leaving] = []
  /// When the client last told what it played.
  var acknowledged: Double?

  // Speaking
  var sounds: [SpokenSound] = []
  var lastSegment = 0
  var makers: [UtteranceID: Task<Void, Never>] = [:]
  var askedAt: [UtteranceID: Double] = [:]
  var mustRestart = false
  /// Whether the client has got some of what is stopped.
  var mustClear = false
  /// The newest utterance of which a frame was sent.
  var lastSent = UtteranceID(rawValue: 0)
  var isHeld = false
  var isFeeding = false
  var isRestarting = false

  // Listening
  var userSound: [Float] = []
  var isDetecting = false
  /// The newest sound before a turn.
  var prefix: [Float] = []
  var turnSound: [Float]?
  var isTranscribing = false
  var waitingTranscription: Bool?

  var eventReaders = Readers<SessionEvent>()
  var frameReaders = Readers<MediaFrame>()
  private var loops: [Task<Void, Never>] = []
  private let wake: AsyncStream<Void>.Continuation
  private let wakes: AsyncStream<Void>
  private var lastMetrics = 0.0

  /// A frame that was sent.
  struct Leaving {
    var utterance: UtteranceID?
    var start: Int
    var end: Int
    var played: Double
    var isLast: Bool
  }

  /// - Parameter starts: whether it plays by itself; tests step it.
  package init(
    engine: any EngineSession, information: EngineInformation, parts: LiveParts,
    settings: LiveSettings = LiveSettings(),
    clock: any SessionClock = SystemClock(), starts: Bool = true
  ) {
    self.engine = engine
    self.parts = parts
    self.settings = settings
    self.clock = clock
    start = clock.now
    format = StreamFormat(
      size: engine.size, framesPerSecond: information.framesPerSecond, sampleRate: information.sampleRate)
    conversation = Conversation(
      settings: settings.turns,
      abilities: Abilities(
        responderHears: parts.responder.hears, hasTranscriber: parts.transcriber != nil, hasVoice: parts.voice != nil,
        preparesAnswers: parts.responder.allowsPreparing))
    queue = PlaybackQueue(rate: information.sampleRate)
    gain = Gain(rate: information.sampleRate)
    (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    if starts { Task { await self.run() } }
  }

  private func run() {
    guard !isOver, loops.isEmpty else { return }
    loops = [
      Task { [weak self] in
        // The session lives as long as its engine's place is taken: until it is closed.
        while let self, await self.playNext() {}
      },
      Task { [wakes, weak self] in
        await self?.produce()
        for await _ in wakes { await self?.produce() }
      },
    ]
  }

  /// Seconds since the session's start.
  var now: Double { clock.now - start }

  /// Lets it be looked whether another block is wanted.
  func wakeUp() { wake.yield() }

  // The handle

  package func events() -> AsyncStream<SessionEvent> {
    eventReaders.add(.bufferingOldest(4096), first: [.state(conversation.state)])
  }

  package func frames() -> AsyncStream<MediaFrame> { frameReaders.add(.bufferingNewest(32)) }

  package func close(_ reason: CloseReason) async { await take(.close(reason)) }

  package func report(_ error: SessionError) async {
    guard !isOver else { return }
    if error.isFatal { await take(.failed(error)) } else { tell(.error(error)) }
  }

  package func send(_ command: SessionCommand) async {
    guard !isOver else { return }
    switch command {
    case .appendUserAudio(let sound): await hear(sound)
    case .commitUserAudio: await take(.commit)
    case .userTranscript(let text, let isFinal):
      if fits(text, .text) { await take(.words(text, isFinal: isFinal)) }
    case .text(let text): if fits(text, .text) { await take(.text(text)) }
    case .say(let text): if fits(text, .text) { await take(.say(text)) }
    case .appendSpeech(let sound):
      guard sound.samples.count > 0 else { return }
      await take(.clientSpeech(seconds: sound.seconds))
      if let id = conversation.clientUtterance { await speak(sound, of: id) }
    case .finishSpeech:
      let id = conversation.clientUtterance
      await take(.clientSpeechEnded)
      if let id { await finishSound(of: id) }
    case .interrupt: await take(.interrupt)
    case .setPrompt(let prompt):
      if fits(prompt, .prompt) { await attempt { try await self.engine.setPrompt(prompt) } }
    case .setAvatar(let name): await setAvatar(name)
    case .played(let sample): await acknowledge(sample)
    case .close: await close(.client)
    }
  }

  private func fits(_ text: String, _ limit: TextLimit) -> Bool {
    let fits = limit.allows(text)
    if !fits { tell(.error(SessionError(.tooMuch, limit.sentence))) }
    return fits
  }

  private func setAvatar(_ name: String) async {
    await attempt {
      guard let picture = try await self.parts.avatar(name) else {
        throw SessionError(.unknownAvatar, "There is no avatar '\(name)': choose one of the list.")
      }
      try await self.engine.setAvatar(picture)
    }
  }

  private func attempt(_ work: () async throws -> Void) async {
    do {
      try await work()
    } catch {
      await report(error as? SessionError ?? SessionError(.engineFailed, "\(error)", isFatal: false))
    }
  }

  // What the conversation decides

  func tell(_ event: SessionEvent) { eventReaders.yield(event, cutsOff: true) }

  func take(_ input: Conversation.Input) async {
    let actions = conversation.handle(input, at: now)
    for action in actions { await perform(action) }
    if mustRestart { await restartSpeech() }
  }

  private func perform(_ action: Conversation.Action) async {
    switch action {
    case .tell(let event): tell(event)
    case .respond(let id, let history, let text, let hasSound):
      askedAt[id] = now - (hasSound ? conversation.detector.silence : 0)
      let sound = hasSound ? turnSound.map { PCM($0, rate: VoiceActivity.sampleRate) } : nil
      make(id, parts.responder.respond(to: ResponseRequest(utterance: id, history: history, text: text, sound: sound)))
    case .read(let id, let text):
      askedAt[id] = now
      if let voice = parts.voice { make(id, voice.speech(of: text)) }
    case .transcribe(let isFinal): transcribe(isFinal: isFinal)
    case .startTurn:
      turnSound = prefix
      await parts.responder.hear(PCM(prefix, rate: VoiceActivity.sampleRate))
    case .forgetTurn(let wasAnswered):
      turnSound = nil
      if !wasAnswered { await parts.responder.forgetHeard() }
    case .duck(let ducks): gain.target = ducks ? Gain.factor(decibels: -settings.turns.duckBy) : 1
    case .release:
      queue.dropSilenceBeforeSpeech()
      await feed()
    case .hold:
      isHeld = true
      (mustRestart, mustClear) = (true, true)
    case .resume:
      isHeld = false
      mustRestart = true
    case .finish(let id): await finishSound(of: id)
    case .cancel(let id): cancel(id)
    case .truncate(let id, let seconds, let text):
      let responder = parts.responder
      // A server that does not answer must not keep the session.
      Task { await responder.truncate(id, playedSeconds: seconds, text: text) }
    case .end: await end()
    }
  }

  private func end() async {
    guard !isOver else { return }
    isOver = true
    for task in makers.values { task.cancel() }
    makers = [:]
    sounds = []
    wake.finish()
    loops.removeAll()
    eventReaders.finish()
    frameReaders.finish()
    await engine.close()
    await parts.responder.close()
  }

  /// Reports how well it keeps up.
  func reportMetrics() {
    guard now - lastMetrics >= settings.metricsInterval else { return }
    lastMetrics = now
    (metrics.blockP50, metrics.blockP99) = blockTimes.percentiles
    metrics.queued = queue.seconds
    tell(.metrics(metrics))
  }
}
