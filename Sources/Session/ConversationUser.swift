// The user's side of a conversation: speech, words, turns, interruptions.

extension Conversation {
  /// Takes what a window of the user's sound, or some seconds without any, changed.
  mutating func hear(_ change: SpeechDetector.Change?, seconds: Double, at now: Double) {
    turn?.seconds += seconds
    if let left = secondsToEndOfTurn { secondsToEndOfTurn = left - seconds }
    switch change {
    case .began: speechBegan()
    case .ended: speechEnded()
    case nil: break
    }
    // A click does not keep the turn open.
    let slack = VoiceActivity.windowSeconds / 1000
    if let left = secondsToEndOfTurn, left <= slack, detector.silence > 0 { releaseAnswer() }
    guard turn != nil else { return }
    if detector.isSpeaking, held == nil { countOverlap(seconds, at: now) }
    if held != nil { writeDownHeld() }
    guard held != nil || utterances.isEmpty, wordsDeadline == nil else { return }
    if !detector.isSpeaking, detector.silence >= endOfTurn.silence - slack {
      endTurn(isAsked: false, at: now)
    } else if let turn, turn.seconds >= settings.longestTurn {
      endTurn(isAsked: false, at: now)
    } else if change == .ended, canPrepare {
      secondsToEndOfTurn = endOfTurn.silence - detector.silence
      endTurn(isAsked: false, at: now)
    }
  }

  /// Whether the answer to the turn so far can be asked for though the turn may go on.
  private var canPrepare: Bool {
    guard settings.preparesAnswers, abilities.preparesAnswers, held == nil, let turn else { return false }
    let isUnderstood = abilities.responderHears || abilities.hasTranscriber || turn.wordsAreFinal && !turn.text.isEmpty
    return isUnderstood && turn.speech >= settings.shortestTurn
  }

  /// The turn is over: what was prepared is played and told.
  mutating func releaseAnswer() {
    guard secondsToEndOfTurn != nil else { return }
    secondsToEndOfTurn = nil
    actions += untold.map { .tell($0) } + [.release]
    untold = []
  }

  /// Tells the user's words, which are final when the turn is over.
  mutating func tellTranscript(_ text: String, isFinal: Bool) {
    let isOpen = secondsToEndOfTurn != nil
    tell(.userTranscript(text, isFinal: isFinal && !isOpen))
    if isFinal && isOpen { untold.append(.userTranscript(text, isFinal: true)) }
  }

  private mutating func speechBegan() {
    tell(.userSpeechStarted)
    // The newest window is counted with all others.
    overlap = detector.speech - VoiceActivity.windowSeconds
    turn?.wordsAreFinal = false
    if turn == nil {
      turn = UserTurn()
      // The sound of a turn that is being answered goes on: perhaps it was not over.
      if answered == nil { actions.append(.startTurn) }
      if secondsToEndOfTurn != nil, let answered { takeUp(answered) }
    } else if detector.pause > 0 {
      endOfTurn.learn(pause: detector.pause)
    }
    if !utterances.isEmpty, utterances[0].isHeard, warmUp <= 0 { duck(true) }
  }

  private mutating func speechEnded() {
    tell(.userSpeechStopped)
    turn?.speech += detector.speech
    if held == nil { duck(false) }
    guard let turn else { return }
    if held != nil {
      if settings.isBackchannel(turn.words) { resume() }
    } else if !utterances.isEmpty || wordsDeadline != nil {
      // Said beside the avatar's speech, and too short to stop it.
      self.turn = nil
      if answered == nil { actions.append(.forgetTurn(wasAnswered: false)) }
    }
  }

  /// Counts speech against the avatar's; enough of it stops the avatar, or takes up a turn again that was held to be over.
  private mutating func countOverlap(_ seconds: Double, at now: Double) {
    guard wordsDeadline != nil || !utterances.isEmpty else { return }
    let isHeard = utterances.first?.isHeard == true
    if isHeard, warmUp > 0 { return }
    if isHeard { duck(true) }
    if detector.silence == 0 { overlap += seconds }
    let slack = VoiceActivity.windowSeconds / 1000
    if !isHeard, let answered {
      if overlap >= settings.shortestTurn - slack { takeUp(answered) }
    } else if overlap >= settings.interruptAfter - slack {
      stopAvatar(at: now)
    }
  }

  /// The answered turn goes on: its pause was not its end.
  private mutating func takeUp(_ earlier: UserTurn) {
    if secondsToEndOfTurn == nil {
      endOfTurn.learn(prematureEnd: detector.pause)
    } else {
      endOfTurn.learn(pause: detector.pause)
    }
    (secondsToEndOfTurn, untold) = (nil, [])
    let speech = turn?.seconds ?? 0
    if earlier.isRemembered, history.last?.role == .user { history.removeLast() }
    wordsDeadline = nil
    cancelUtterances()
    turn = earlier
    turn?.earlierWords = abilities.hasTranscriber ? "" : earlier.text
    turn?.words = ""
    turn?.wordsAreFinal = false
    turn?.isRemembered = false
    turn?.seconds += speech
    answered = nil
  }

  private mutating func stopAvatar(at now: Double) {
    guard let first = utterances.first else { return }
    let words = turn?.words ?? ""
    if settings.isBackchannel(words) { return }
    guard words.isEmpty, first.isHeard, abilities.hasTranscriber || clientKnowsWords else {
      cancelUtterances()
      return
    }
    held = Hold(utterance: first.id, until: now + settings.falseInterruptionAfter, transcribed: turn?.seconds ?? 0)
    actions.append(.hold(first.id))
    if abilities.hasTranscriber { actions.append(.transcribe(isFinal: false)) }
  }

  /// Writes the user's sound down again while nothing is known of it yet.
  private mutating func writeDownHeld() {
    guard abilities.hasTranscriber, wordsDeadline == nil, let seconds = turn?.seconds, let done = held?.transcribed,
      seconds - done >= 0.7
    else { return }
    held?.transcribed = seconds
    actions.append(.transcribe(isFinal: false))
  }

  /// Nobody said anything: the avatar goes on where it was stopped.
  mutating func resume() {
    guard let id = held?.utterance else { return }
    held = nil
    wordsDeadline = nil
    // The same sound does not stop the avatar again, unless there are words in it.
    overlap = -.infinity
    if !detector.isSpeaking { forgetTurn() }
    duck(false)
    actions.append(.resume(id))
  }

  mutating func take(words: String, isFinal: Bool, at now: Double) {
    let words = words.trimmed
    if !abilities.hasTranscriber { clientKnowsWords = true }
    guard turn != nil || wordsDeadline != nil else {
      // Late words of a turn that is being answered, or a client's whose sound is not heard here.
      if isFinal, answered == nil, utterances.isEmpty, !words.isEmpty { takeTyped(words, at: now) }
      return
    }
    if wordsDeadline != nil, turn == nil { turn = answered }
    turn?.words = words
    // What a transcriber was asked before the turn went on is not all of it.
    turn?.wordsAreFinal = isFinal && (wordsDeadline != nil || !abilities.hasTranscriber)
    let text = turn?.text ?? words
    if !text.isEmpty { tellTranscript(text, isFinal: isFinal) }
    let isReal = !words.isEmpty && !settings.isBackchannel(words)
    if held != nil {
      if isReal {
        cancelUtterances()
      } else if (isFinal && wordsDeadline != nil) || (!words.isEmpty && !detector.isSpeaking) {
        return resume()
      }
    } else if utterances.first?.isHeard == true, warmUp <= 0, isReal {
      cancelUtterances()
    }
    guard isFinal, wordsDeadline != nil else { return }
    wordsDeadline = nil
    if text.isEmpty { forgetTurn() } else { answer(at: now) }
  }

  /// Words that are awaited do not come.
  mutating func takeNoWords(_ error: SessionError?, at now: Double) {
    if let error { tell(.error(error)) }
    guard wordsDeadline != nil else { return }
    wordsDeadline = nil
    if held != nil { return resume() }
    if turn == nil { turn = answered }
    if turn?.text.isEmpty ?? true { forgetTurn() } else { answer(at: now) }
  }

  /// The user's turn is over: it is answered where there is anything to answer.
  mutating func endTurn(isAsked: Bool, at now: Double) {
    guard var turn else { return }
    if detector.isSpeaking { turn.speech += detector.speech }
    self.turn = turn
    let isNoise = turn.speech < settings.shortestTurn && turn.text.isEmpty
    if held != nil, settings.isBackchannel(turn.words) { return resume() }
    if isNoise, !isAsked {
      if held != nil { resume() } else { forgetTurn() }
      return
    }
    if isAsked { detector.reset() }
    if held == nil, !utterances.isEmpty { cancelUtterances() }
    if turn.wordsAreFinal, !turn.text.isEmpty {
      answer(at: now)
    } else if held == nil, abilities.responderHears {
      answer(at: now)
    } else if abilities.hasTranscriber {
      awaitWords(at: now, for: max(settings.falseInterruptionAfter, settings.longestThinking / 2))
      actions.append(.transcribe(isFinal: true))
    } else if clientKnowsWords {
      awaitWords(at: now, for: settings.longestWordsWait)
    } else {
      forgetTurn()
      tell(
        .error(
          SessionError(
            .notAvailable, "This conversation cannot hear: type, or use a browser that recognises speech.")))
    }
  }

  private mutating func awaitWords(at now: Double, for seconds: Double) {
    wordsDeadline = now + seconds
    if held == nil { (answered, turn) = (turn, nil) }
  }

  /// Asks for the answer to the turn.
  private mutating func answer(at now: Double) {
    guard let turn else { return }
    cancelUtterances()
    let text = turn.text
    let id = newUtterance(.answer)
    actions.append(.respond(id, history: history, text: text.isEmpty ? nil : text, hasSound: true))
    remember(Turn(.user, text))
    utterances[0].isStarted = true
    (answered, self.turn) = (turn, nil)
    answered?.isRemembered = !text.isEmpty
  }

  mutating func takeTyped(_ text: String, at now: Double) {
    let text = text.trimmed
    guard !text.isEmpty else { return }
    cancelUtterances()
    forgetTurn()
    let id = newUtterance(.answer)
    tell(.userTranscript(text, isFinal: true))
    actions.append(.respond(id, history: history, text: text, hasSound: false))
    remember(Turn(.user, text))
    utterances[0].isStarted = true
  }

  /// Forgets what the user has said.
  mutating func forgetTurn() {
    guard turn != nil || answered != nil else { return }
    (turn, answered, wordsDeadline) = (nil, nil, nil)
    actions.append(.forgetTurn(wasAnswered: false))
  }

  mutating func duck(_ ducks: Bool) {
    guard ducks != isDucked else { return }
    isDucked = ducks
    actions.append(.duck(ducks))
  }
}
