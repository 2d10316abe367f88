import Testing

@testable import Session

@Suite struct ConversationTests {
  @Test func `a spoken turn is answered half a second after its end`() {
    var talk = Talk()
    talk.speech(1)
    #expect(talk.state == .listening && talk.deeds == [.startTurn])
    let end = talk.now
    talk.silence(0.55)
    #expect(talk.state == .thinking)
    let asked = talk.time(of: .respond(first, history: [], text: nil, hasSound: true))
    #expect(abs(asked! - end - 0.5) <= 0.04)
    talk.answer("Good day.", seconds: 1)
    #expect(talk.state == .thinking)
    talk.play(to: 1, isLast: true)
    #expect(talk.state == .idle && talk.states == [.listening, .thinking, .speaking, .idle])
    #expect(finished(talk.events) == [first])
    #expect(talk.conversation.history == [Turn(.avatar, "Good day.", utterance: first)])
    #expect(talk.deeds.suffix(1) == [.forgetTurn(wasAnswered: true)])
  }

  @Test func `playback is started and finished once, with what was played`() {
    var talk = Talk()
    talk.take(.say("One two."))
    #expect(talk.deeds == [.read(first, "One two.")] && talk.state == .thinking)
    talk.answer("One two.", seconds: 2)
    talk.play(to: 2, isLast: true)
    let started = talk.events.filter { if case .playbackStarted = $0 { true } else { false } }
    #expect(started == [.playbackStarted(first, sample: 3000)])
    #expect(
      talk.events.contains(.playbackFinished(first, playedSeconds: 2, wasInterrupted: false, text: "One two.")))
    talk.take(.played(first, seconds: 2, sample: 96_000, isLast: true))
    #expect(finished(talk.events) == [first])
  }

  @Test func `readings are spoken one after the other`() {
    var talk = Talk()
    for text in ["a", "b", "c"] { talk.take(.say(text)) }
    #expect(talk.deeds == [.read(first, "a")])
    talk.answer("a", seconds: 1)
    #expect(talk.deeds == [.read(first, "a"), .read(second, "b")])
    talk.take(.answerSound(second, seconds: 1))
    talk.take(.answerDone(second))
    #expect(talk.deeds.count == 2, "two are made ahead at most")
    talk.play(to: 1, isLast: true)
    #expect(talk.deeds.last == .read(third, "c"))
    talk.play(to: 1, isLast: true)
    talk.take(.answerSound(third, seconds: 1))
    talk.take(.answerDone(third))
    talk.play(to: 1, isLast: true)
    #expect(talk.state == .idle && finished(talk.events) == [first, second, third])
  }

  @Test func `an interruption cancels what is said and all that waits`() {
    var talk = Talk.speaking()
    talk.take(.say("more"))
    talk.take(.interrupt)
    #expect(talk.state == .idle && finished(talk.events) == [first, second])
    #expect(talk.deeds.contains(.cancel(first)) && talk.deeds.contains(.cancel(second)))
    #expect(talk.deeds.contains(.truncate(first, playedSeconds: 3, text: "One")))
    #expect(
      talk.conversation.history.last == Turn(.avatar, "One", utterance: first, wasInterrupted: true))
    // What is still on its way belongs to nothing.
    talk.log = []
    talk.take(.answerSound(first, seconds: 1))
    talk.take(.answerDone(first))
    talk.take(.played(first, seconds: 1, sample: 0, isLast: true))
    #expect(talk.log.isEmpty)
  }

  @Test func `the client's own sound is one utterance until it is finished`() {
    var talk = Talk()
    talk.take(.clientSpeechEnded)
    #expect(talk.events.count == 1)
    talk.take(.clientSpeech(seconds: 0.5))
    #expect(talk.conversation.clientUtterance == first)
    talk.take(.clientSpeech(seconds: 0.5))
    talk.take(.clientSpeechEnded)
    #expect(talk.conversation.clientUtterance == nil)
    talk.take(.clientSpeech(seconds: 0.5))
    #expect(talk.conversation.clientUtterance == second)
    talk.play(to: 1, isLast: true)
    #expect(finished(talk.events) == [first])
  }

  @Test func `an answer that breaks off is played as far as it came, and regretted`() {
    var talk = Talk()
    talk.take(.text("Tell me."))
    talk.answer("Well", seconds: 1, isWhole: false)
    talk.take(.answerFailed(first, SessionError(.responderFailed, "The server is gone.")))
    #expect(talk.deeds.suffix(1) == [.finish(first)] || talk.deeds.contains(.finish(first)))
    talk.play(to: 1, isLast: true)
    #expect(talk.deeds.last == .read(second, talk.conversation.settings.apology))
    #expect(talk.events.contains(.error(SessionError(.responderFailed, "The server is gone."))))
    // A voice that fails has nothing to regret aloud.
    talk.take(.answerFailed(second, SessionError(.voiceFailed, "No voice.")))
    #expect(talk.state == .idle && finished(talk.events) == [first, second])
  }

  @Test func `an answer without any sound is waited for half a minute, not for ever`() {
    var talk = Talk()
    talk.take(.text("Hello?"))
    talk.wait(29)
    #expect(talk.state == .thinking && !talk.deeds.contains(.cancel(first)))
    talk.wait(2)
    #expect(talk.deeds.contains(.cancel(first)) && talk.deeds.last == .read(second, talk.conversation.settings.apology))
    #expect(talk.state == .thinking, "the apology is on its way")
    talk.wait(31)
    #expect(talk.state == .idle && finished(talk.events) == [first, second])
  }

  @Test func `an answer of no sound ends at once`() {
    var talk = Talk()
    talk.take(.text("Hello?"))
    talk.take(.answerDone(first))
    #expect(talk.state == .idle && finished(talk.events) == [first])
  }

  @Test func `typed text is a turn that interrupts`() {
    var talk = Talk.speaking()
    talk.take(.text("Another thing."))
    #expect(talk.state == .thinking && finished(talk.events) == [first])
    let history = [
      Turn(.user, "Hello."), Turn(.avatar, "One", utterance: first, wasInterrupted: true),
    ]
    #expect(talk.deeds.last == .respond(second, history: history, text: "Another thing.", hasSound: false))
  }

  @Test func `too many waiting utterances are refused`() {
    var talk = Talk { $0.longestQueue = 2 }
    for _ in 0..<3 { talk.take(.say("a")) }
    #expect(talk.events.contains { if case .error(let error) = $0 { error.code == .tooMuch } else { false } })
    #expect(talk.conversation.utterances.count == 2)
  }

  @Test func `without a voice nothing is read aloud`() {
    var talk = Talk(voice: false)
    talk.take(.say("a"))
    #expect(talk.state == .idle)
    #expect(talk.events.contains { if case .error(let error) = $0 { error.code == .notAvailable } else { false } })
  }

  @Test func `a session without life is closed, one with a limit at it`() {
    var talk = Talk { ($0.idleAfter, $0.longestSession) = (10, nil) }
    talk.wait(9)
    talk.take(.say("a"))
    talk.take(.answerSound(first, seconds: 1))
    talk.take(.answerDone(first))
    talk.play(to: 1, isLast: true)
    talk.wait(9.5)
    #expect(!talk.events.contains(.closed(.idle)))
    talk.wait(1)
    #expect(talk.events.last == .closed(.idle) && talk.deeds.last == .end)
    #expect(talk.take(.say("b")).isEmpty)

    talk = Talk { $0.longestSession = 5 }
    talk.take(.say("a"))
    talk.wait(6)
    #expect(finished(talk.events) == [first] && talk.events.last == .closed(.expired))
  }

  @Test func `history is bounded`() {
    var talk = Talk { $0.longestHistory = 4 }
    for _ in 0..<10 {
      talk.take(.text("a"))
      talk.take(.interrupt)
    }
    #expect(talk.conversation.history.count == 4)
  }
}

@Suite struct UtteranceTests {
  @Test func `the text that was heard is cut in proportion, at whole words`() {
    var utterance = Utterance(first, .answer)
    utterance.received = 4
    utterance.words = [
      Utterance.Words(text: "one two three four ", at: 0), Utterance.Words(text: "five six", at: 2),
    ]
    #expect(utterance.text(within: 0) == "")
    #expect(utterance.text(within: 1) == "one two")
    #expect(utterance.text(within: 2) == "one two three four")
    #expect(utterance.text(within: 3.5) == "one two three four five")
    utterance.isWhole = true
    #expect(utterance.text(within: 4) == "one two three four five six")
  }

  @Test func `words that came before any sound are shared over all of it`() {
    var utterance = Utterance(first, .answer)
    utterance.words = ["one ", "two ", "three ", "four"].map { Utterance.Words(text: $0, at: 0) }
    utterance.received = 4
    #expect(utterance.text(within: 2) == "one two")
  }
}
