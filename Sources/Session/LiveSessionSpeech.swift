// The speech of a session: what the avatar says on its way to the engine, what the user says on its way to the responder.

extension LiveSession {
  /// Reads the making of an utterance.
  func make(_ id: UtteranceID, _ stream: AsyncThrowingStream<SpeechEvent, any Error>) {
    makers[id] = Task { [weak self] in
      do {
        for try await event in stream {
          guard let self, !Task.isCancelled, await self.take(event, of: id) else { return }
        }
        await self?.breakOff(id, nil)
      } catch {
        await self?.breakOff(id, error)
      }
    }
  }

  /// - Returns: whether more is wanted.
  private func take(_ event: SpeechEvent, of id: UtteranceID) async -> Bool {
    guard makers[id] != nil, !isOver else { return false }
    switch event {
    case .heard(let text): await take(.heard(id, text))
    case .text(let text, let at): await take(.answerWords(id, text, at: at))
    case .sound(let sound):
      guard !sound.samples.isEmpty else { return true }
      await take(.answerSound(id, seconds: sound.seconds))
      await speak(sound, of: id)
    case .done:
      makers[id] = nil
      await take(.answerDone(id))
      await finishSound(of: id)
      return false
    }
    return true
  }

  /// The making of an utterance ended before it was whole.
  private func breakOff(_ id: UtteranceID, _ error: (any Error)?) async {
    guard makers.removeValue(forKey: id) != nil, !isOver else { return }
    let failure =
      error as? SessionError
      ?? SessionError(.responderFailed, error.map { "The answer broke off: \($0)" } ?? "The answer broke off.")
    await take(.answerFailed(id, failure))
  }

  /// Takes sound of an utterance.
  func speak(_ sound: PCM, of id: UtteranceID) async {
    guard conversation.utterances.contains(where: { $0.id == id }) else { return }
    let index = sounds.firstIndex { $0.id == id } ?? sounds.count
    if index == sounds.count { sounds.append(SpokenSound(id)) }
    guard PCM.rates.contains(sound.rate), sound.samples.allSatisfy(\.isFinite), sounds[index].append(sound) else {
      return await refuse(id, SessionError(.badSound, "Speech is finite samples of one rate."))
    }
    guard sounds[index].seconds <= settings.longestUtterance else {
      return await refuse(
        id, SessionError(.tooMuch, "An utterance has at most \(Int(settings.longestUtterance)) s."))
    }
    await feed()
  }

  private func refuse(_ id: UtteranceID, _ error: SessionError) async {
    makers.removeValue(forKey: id)?.cancel()
    await take(.answerFailed(id, error))
  }

  func finishSound(of id: UtteranceID) async {
    guard let index = sounds.firstIndex(where: { $0.id == id }) else { return }
    sounds[index].isWhole = true
    await feed()
  }

  /// Gives the engine what it has not got yet, in the order in which it is spoken.
  func feed() async {
    guard !isFeeding else { return }
    isFeeding = true
    defer { isFeeding = false }
    while !isHeld, !isRestarting, !isOver, !lacksSilence, let index = unfed {
      if sounds[index].segment == nil {
        lastSegment += 1
        sounds[index].segment = UtteranceID(rawValue: lastSegment)
      }
      guard let segment = sounds[index].segment else { break }
      if sounds[index].given < sounds[index].samples.count {
        await engine.append(sounds[index].takeRest(), to: segment)
      } else {
        sounds[index].isFinished = true
        await engine.finish(segment)
      }
    }
    wakeUp()
  }

  /// Whether a turn may go on for longer than there is silence to be played meanwhile: no block of silence is made behind one of speech.
  var lacksSilence: Bool {
    guard let seconds = conversation.secondsToEndOfTurn, queue.isReplaceable else { return false }
    return queue.seconds < seconds + 1.5 / Double(format.framesPerSecond)
  }

  /// The first utterance of which the engine lacks something; those behind it wait until it is whole.
  private var unfed: Int? {
    for utterance in conversation.utterances {
      guard let index = sounds.firstIndex(where: { $0.id == utterance.id }) else { return nil }
      if sounds[index].given < sounds[index].samples.count || (sounds[index].isWhole && !sounds[index].isFinished) {
        return index
      }
      guard sounds[index].isWhole else { return nil }
    }
    return nil
  }

  func forgetSound(of id: UtteranceID) { sounds.removeAll { $0.id == id } }

  func cancel(_ id: UtteranceID) {
    makers.removeValue(forKey: id)?.cancel()
    askedAt[id] = nil
    isHeld = false
    guard sounds.contains(where: { $0.id == id }) else { return }
    forgetSound(of: id)
    mustRestart = true
    if id <= lastSent { mustClear = true }
  }

  /// Stops the engine's speech, and gives it again what is still to be said, from where it was played.
  func restartSpeech() async {
    mustRestart = false
    isRestarting = true
    stopPlaying()
    for index in sounds.indices {
      let id = sounds[index].id
      sounds[index].restart(from: conversation.utterances.first { $0.id == id }?.played ?? 0)
    }
    await engine.interrupt()
    isRestarting = mustRestart
    await feed()
  }

  // The user

  /// Takes sound of the microphone.
  func hear(_ sound: PCM) async {
    guard sound.rate == VoiceActivity.sampleRate, sound.samples.allSatisfy(\.isFinite) else {
      return tell(
        .error(SessionError(.badSound, "The user's sound has \(VoiceActivity.sampleRate) finite samples a second.")))
    }
    let longest = Int(settings.longestUserSound * Double(VoiceActivity.sampleRate))
    guard userSound.count + sound.samples.count <= longest else {
      return tell(.error(SessionError(.tooMuch, "The user's sound comes faster than it can be heard.")))
    }
    userSound += sound.samples
    guard !isDetecting else { return }
    isDetecting = true
    defer { isDetecting = false }
    while userSound.count >= VoiceActivity.windowSamples, !isOver {
      let window = Array(userSound.prefix(VoiceActivity.windowSamples))
      userSound.removeFirst(window.count)
      await hear(window: window)
    }
  }

  private func hear(window: [Float]) async {
    var probability: Float = 1
    if let detector = parts.detector {
      do {
        probability = try await detector.probability(of: window)
      } catch {
        return await take(
          .failed(SessionError(.engineFailed, "Speech cannot be told from noise: \(error)", isFatal: true)))
      }
    }
    if turnSound != nil {
      turnSound?.append(contentsOf: window)
      await parts.responder.hear(PCM(window, rate: VoiceActivity.sampleRate))
    } else {
      prefix.append(contentsOf: window)
      let longest = Int((settings.turns.turnPrefix + settings.turns.duckAfter) * Double(VoiceActivity.sampleRate))
      prefix.removeFirst(max(0, prefix.count - longest))
    }
    await take(.voice(probability))
    if let count = turnSound?.count, count > Int(2 * settings.turns.longestTurn) * VoiceActivity.sampleRate {
      turnSound?.removeFirst(VoiceActivity.sampleRate)
    }
  }

  /// Asks for the words of the turn so far; one request at a time, of which the last one matters.
  func transcribe(isFinal: Bool) {
    guard !isTranscribing else {
      waitingTranscription = isFinal || waitingTranscription == true
      return
    }
    guard let transcriber = parts.transcriber, let turnSound else { return }
    isTranscribing = true
    let sound = PCM(turnSound, rate: VoiceActivity.sampleRate)
    Task { [weak self] in
      var words: Conversation.Input
      do {
        words = .words(try await transcriber.transcribe(sound), isFinal: isFinal)
      } catch {
        words = .wordsFailed(
          error as? SessionError ?? SessionError(.transcriptionFailed, "Your words were not understood: \(error)"))
      }
      await self?.takeTranscription(words)
    }
  }

  private func takeTranscription(_ words: Conversation.Input) async {
    isTranscribing = false
    let next = waitingTranscription
    waitingTranscription = nil
    await take(words)
    if let next { transcribe(isFinal: next) }
  }
}
