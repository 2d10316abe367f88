// The playing side of a session: when blocks are asked for, when frames leave, what was played.

/// Seconds that the newest blocks took.
struct BlockTimes {
  private var newest: [Double] = []

  mutating func take(_ seconds: Double) {
    newest.append(seconds)
    if newest.count > 256 { newest.removeFirst() }
  }

  var percentiles: (p50: Double, p99: Double) {
    guard !newest.isEmpty else { return (0, 0) }
    let sorted = newest.sorted()
    return (sorted[sorted.count / 2], sorted[min(sorted.count - 1, sorted.count * 99 / 100)])
  }

  /// How long before it is needed a block is asked for: by the slowest, since blocks of speech are begun while the ones before are
  /// decoded, and silence mostly is not.
  var headStart: Double? { newest.max().map { 1.25 * $0 + 0.1 } }
}

extension LiveSession {
  /// Asks the engine for blocks as long as any is wanted.
  func produce() async {
    guard !isProducing else { return }
    isProducing = true
    defer { isProducing = false }
    while !isOver, await isBlockWanted {
      do {
        take(try await engine.nextBlock())
        if conversation.secondsToEndOfTurn != nil { await feed() }
      } catch {
        guard !isOver else { return }
        let failure = error as? SessionError ?? SessionError(.engineFailed, "The avatar cannot be computed: \(error)")
        await take(.failed(SessionError(failure.code, failure.message, isFatal: true)))
      }
    }
  }

  private var isBlockWanted: Bool {
    get async {
      if queue.frames.isEmpty || queue.hasStale || lacksSilence { return true }
      let isSpeechReady = await engine.hasSpeechReady
      if isSpeechReady, queue.isReplaceable { return true }
      let seconds = queue.seconds
      // Speech is made as soon as there is place for it.
      if isSpeechReady { return seconds < blockDuration }
      // Silence as late as possible, for it might not be wanted, but with time for two blocks: speech that comes while it is made has
      // it made anew. What waits then gives way to the speech and does not delay it.
      return seconds <= blockTimes.headStart.map { min(1.5 * blockDuration, 2 * $0) } ?? blockDuration
    }
  }

  /// Takes a block; speech that was stopped while it was made is silenced.
  private func take(_ block: OutputBlock) {
    guard !isOver else { return }
    blockTimes.take(block.metrics.seconds)
    blockDuration = block.metrics.duration
    metrics.blocks += 1
    (metrics.steps, metrics.framesPerSecond) = (block.metrics.steps, block.metrics.framesPerSecond)
    queue.append(
      block.frames.map { frame in
        var queued = PlaybackQueue.Frame(picture: frame.picture, samples: frame.samples)
        guard let segment = frame.utterance else { return queued }
        queued.utterance = segment
        guard let sound = sounds.first(where: { $0.segment == segment }) else {
          return PlaybackQueue.silenced(queued, fades: false, rate: queue.rate)
        }
        queued.utterance = sound.id
        let played = Double(frame.offset + frame.samples.count) / Double(queue.rate)
        // The last frame is filled up with silence.
        queued.end = frame.endsUtterance ? sound.seconds : min(sound.base + played, sound.seconds)
        queued.endsUtterance = frame.endsUtterance
        return queued
      }, keepsSilence: conversation.secondsToEndOfTurn != nil)
  }

  /// Waits for the next frame's time and sends it.
  ///
  /// - Returns: whether there will be another.
  func playNext() async -> Bool {
    guard !isOver else { return false }
    let frame = 1 / Double(format.framesPerSecond)
    let due = origin.map { $0 + Double(nextSample) / Double(queue.rate) - settings.lead } ?? (clock.now + frame / 4)
    do { try await clock.sleep(until: due) } catch { return false }
    guard !isOver else { return false }
    await sendNext()
    reportMetrics()
    await take(.tick)
    wakeUp()
    return !isOver
  }

  /// Sends the next frame: where none is ready the last picture is held, and the sound with it, so that neither runs ahead.
  func sendNext() async {
    if origin == nil, !queue.frames.isEmpty {
      origin = clock.now + settings.lead
      metrics.timeToFirstFrame = now
    }
    guard let origin else { return }
    if let frame = queue.next(holdsSpeech: conversation.secondsToEndOfTurn != nil) {
      isHolding = false
      await send(frame)
    } else if let picture = lastPicture {
      if !isHolding { metrics.missedDeadlines += 1 }
      isHolding = true
      metrics.heldFrames += 1
      // After a standstill one frame makes up for all of it.
      let frame = queue.rate / format.framesPerSecond
      let late = clock.now + settings.lead - origin - Double(nextSample) / Double(queue.rate)
      let frames = min(max(1, Int(late * Double(format.framesPerSecond))), 10 * format.framesPerSecond)
      await send(PlaybackQueue.Frame(picture: picture, samples: [Float](repeating: 0, count: frames * frame)))
    }
  }

  private func send(_ frame: PlaybackQueue.Frame) async {
    var samples = frame.samples
    gain.apply(to: &samples)
    frameReaders.yield(
      MediaFrame(
        index: nextIndex, sample: nextSample, picture: frame.picture, samples: samples, utterance: frame.utterance),
      cutsOff: false)
    lastPicture = frame.picture
    if let id = frame.utterance { lastSent = max(lastSent, id) }
    let end = nextSample + samples.count
    leaving.append(
      Leaving(
        utterance: frame.utterance, start: nextSample, end: end, played: frame.end, isLast: frame.endsUtterance))
    if let id = frame.utterance, let asked = askedAt.removeValue(forKey: id) { metrics.responseLatency = now - asked }
    nextIndex += 1
    nextSample = end
    // A client that tells nothing plays what it is sent; one that has stopped telling is taken for such a one.
    if acknowledged.map({ now - $0 > settings.longestSilenceOfPlayer }) ?? true {
      acknowledged = nil
      await reportPlayed(through: end)
    }
  }

  /// The client has played up to a sample.
  func acknowledge(_ sample: Int) async {
    guard sample >= 0, sample <= nextSample else {
      return tell(
        .error(SessionError(.badSound, "Sample \(sample) cannot have been played: \(nextSample) were sent.")))
    }
    acknowledged = now
    await reportPlayed(through: sample)
  }

  private func reportPlayed(through sample: Int) async {
    while let first = leaving.first, first.end <= sample {
      leaving.removeFirst()
      guard let id = first.utterance else { continue }
      await take(.played(id, seconds: first.played, sample: first.start, isLast: first.isLast))
      if first.isLast { forgetSound(of: id) }
    }
  }

  /// Stops speech where it is: what waits is silenced, what the client has got is to be dropped.
  func stopPlaying() {
    queue.silence()
    leaving.removeAll { $0.utterance != nil }
    if mustClear { tell(.playbackCleared(sample: nextSample)) }
    mustClear = false
  }
}
