// The avatar's side of a conversation: utterances from their first word to their last sample.

extension Conversation {
  private func index(of id: UtteranceID) -> Int? { utterances.firstIndex { $0.id == id } }

  /// Lets the making of what is to be said begin: of the first utterance, and of the next one when all of its sound has come.
  mutating func startUtterances(at now: Double) {
    for index in utterances.indices {
      if !utterances[index].isStarted {
        utterances[index].isStarted = true
        if case .reading(let text) = utterances[index].source { actions.append(.read(utterances[index].id, text)) }
      }
      if !utterances[index].isWhole || index == 1 { break }
    }
    guard let first = utterances.first, first.isStarted, first.received == 0, first.source != .client else {
      soundDeadline = nil
      return
    }
    if soundDeadline == nil { soundDeadline = now + settings.longestThinking }
  }

  mutating func takeReading(_ text: String) {
    let text = text.trimmed
    guard !text.isEmpty else { return }
    guard abilities.hasVoice else {
      return tell(.error(SessionError(.notAvailable, "This conversation has no voice to read text aloud.")))
    }
    guard hasPlace else { return }
    _ = newUtterance(.reading(text))
  }

  mutating func takeClientSpeech(_ seconds: Double) {
    if let id = clientUtterance {
      takeSound(id, seconds)
    } else if hasPlace {
      let id = newUtterance(.client)
      utterances[utterances.count - 1].isStarted = true
      takeSound(id, seconds)
    }
  }

  mutating func takeClientSpeechEnd() {
    guard let id = clientUtterance else {
      return tell(.error(SessionError(.unknownUtterance, "There is no speech to finish: append some first.")))
    }
    takeDone(id)
  }

  private var hasPlace: Bool {
    mutating get {
      guard utterances.count < settings.longestQueue else {
        tell(.error(SessionError(.tooMuch, "\(settings.longestQueue) utterances wait already: let the avatar speak.")))
        return false
      }
      return true
    }
  }

  /// What the responder understood of the turn that it answers.
  mutating func takeHeard(_ id: UtteranceID, _ text: String) {
    let text = text.trimmed
    guard index(of: id) != nil, !text.isEmpty else { return }
    if let last = history.last, last.role == .user, last.text == text { return }
    remember(Turn(.user, text))
    answered?.isRemembered = true
    tellTranscript(text, isFinal: true)
  }

  mutating func takeWords(_ id: UtteranceID, _ text: String, _ at: Double?) {
    guard let index = index(of: id), !text.isEmpty else { return }
    let at = max(utterances[index].words.last?.at ?? 0, at ?? utterances[index].received)
    utterances[index].words.append(Utterance.Words(text: text, at: at))
    let event = SessionEvent.avatarTranscript(id, delta: text, at: at)
    if secondsToEndOfTurn == nil { tell(event) } else { untold.append(event) }
  }

  mutating func takeSound(_ id: UtteranceID, _ seconds: Double) {
    guard let index = index(of: id) else { return }
    utterances[index].received += seconds
  }

  mutating func takeDone(_ id: UtteranceID) {
    guard let index = index(of: id) else { return }
    utterances[index].isWhole = true
    // An answer without sound has nothing to be played.
    if utterances[index].received == 0 { finish(index, wasInterrupted: false) }
  }

  mutating func takeFailure(_ id: UtteranceID, _ error: SessionError) {
    guard let index = index(of: id) else { return }
    tell(.error(error))
    let source = utterances[index].source
    let isEmpty = utterances[index].received == 0
    actions.append(isEmpty ? .cancel(id) : .finish(id))
    if isEmpty { finish(index, wasInterrupted: true) } else { utterances[index].isWhole = true }
    guard source == .answer, abilities.hasVoice, !settings.apology.isEmpty else { return }
    let apology = newUtterance(.reading(settings.apology))
    // It comes right after what it is about.
    let last = utterances.removeLast()
    precondition(last.id == apology)
    utterances.insert(last, at: isEmpty ? index : index + 1)
  }

  mutating func takePlayed(_ id: UtteranceID, seconds: Double, sample: Int, isLast: Bool) {
    guard let index = index(of: id) else { return }
    if !utterances[index].isHeard {
      utterances[index].isHeard = true
      overlap = 0
      tell(.playbackStarted(id, sample: sample))
      if answered != nil {
        answered = nil
        if turn == nil { actions.append(.forgetTurn(wasAnswered: true)) }
      }
      if detector.isSpeaking, warmUp <= 0 { duck(true) }
    }
    warmUp = max(0, warmUp - max(0, seconds - utterances[index].played))
    utterances[index].played = max(seconds, utterances[index].played)
    if isLast { finish(index, wasInterrupted: false) }
  }

  /// Stops all that is said or waits to be said.
  mutating func cancelUtterances() {
    held = nil
    while let first = utterances.first {
      actions.append(.cancel(first.id))
      if first.source == .answer {
        actions.append(.truncate(first.id, playedSeconds: first.played, text: first.text(within: first.played)))
      }
      finish(0, wasInterrupted: true)
    }
    duck(false)
  }

  /// Says how much of an utterance was played, and takes it from the queue.
  private mutating func finish(_ index: Int, wasInterrupted: Bool) {
    let utterance = utterances.remove(at: index)
    untold.removeAll { if case .avatarTranscript(utterance.id, _, _) = $0 { true } else { false } }
    if index == 0 { soundDeadline = nil }
    let text = wasInterrupted ? utterance.text(within: utterance.played) : utterance.text
    remember(Turn(.avatar, text, utterance: utterance.id, wasInterrupted: wasInterrupted))
    tell(
      .playbackFinished(
        utterance.id, playedSeconds: utterance.played, wasInterrupted: wasInterrupted, text: text))
    if utterances.isEmpty, !detector.isSpeaking { duck(false) }
  }
}
