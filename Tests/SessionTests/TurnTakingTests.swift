import Testing

@testable import Session

@Suite struct TurnTakingTests {
  // Interrupting

  @Test func `the avatar is ducked within 100 ms of speech and louder again after it`() {
    var talk = Talk.speaking()
    let start = talk.now
    talk.speech(0.2)
    #expect(talk.time(of: .duck(true))! - start < 0.1)
    talk.silence(0.3)
    #expect(talk.deeds.filter { $0 != .startTurn } == [.duck(true), .duck(false), .forgetTurn(wasAnswered: false)])
    #expect(talk.state == .speaking && finished(talk.events).isEmpty)
  }

  @Test func `half a second of speech stops the avatar, and its end is a turn`() {
    var talk = Talk.speaking()
    let start = talk.now
    talk.speech(1)
    let stopped = talk.time(of: .cancel(first))! - start
    #expect((0.45...0.55).contains(stopped) && talk.state == .listening)
    #expect(finished(talk.events) == [first])
    talk.silence(0.6)
    #expect(talk.state == .thinking)
    guard case .respond(second, _, nil, true) = talk.deeds.last else {
      Issue.record("the turn is not answered: \(talk.deeds)")
      return
    }
  }

  @Test func `the time that stops the avatar is a setting`() {
    var talk = Talk.speaking { $0.interruptAfter = 0.2 }
    let start = talk.now
    talk.speech(1)
    #expect(talk.time(of: .cancel(first))! - start < 0.25)
  }

  @Test func `where words can be known the avatar is held, and goes on after 2 s without any`() {
    var talk = Talk.speaking(hears: false, transcriber: true)
    talk.speech(0.6)
    #expect(talk.state == .listening && talk.deeds.contains(.hold(first)) && finished(talk.events).isEmpty)
    #expect(talk.deeds.last == .transcribe(isFinal: false))
    let held = talk.time(of: .hold(first))!
    talk.take(.words("", isFinal: false))
    // A noise that never stops.
    talk.speech(3)
    #expect(abs(talk.time(of: .resume(first))! - held - 2) < 0.1)
    #expect(talk.deeds.filter { $0 == .transcribe(isFinal: false) }.count >= 3)
    #expect(finished(talk.events).isEmpty)
  }

  @Test func `words make an interruption a real one`() {
    var talk = Talk.speaking(hears: false, transcriber: true)
    talk.speech(0.6)
    talk.take(.words("wait a moment", isFinal: false))
    #expect(talk.deeds.contains(.cancel(first)) && finished(talk.events) == [first] && talk.state == .listening)
    talk.silence(0.6)
    #expect(talk.state == .thinking && talk.deeds.last == .transcribe(isFinal: true))
    talk.take(.words("wait a moment please", isFinal: true))
    guard case .respond(second, _, "wait a moment please", true) = talk.deeds.last else {
      Issue.record("the turn is not answered: \(talk.deeds)")
      return
    }
  }

  @Test func `a held avatar whose user said nothing in the end goes on`() {
    var talk = Talk.speaking(hears: false, transcriber: true)
    talk.speech(0.6)
    talk.silence(0.6)
    #expect(talk.deeds.last == .transcribe(isFinal: true))
    talk.take(.words("", isFinal: true))
    #expect(talk.deeds.last == .resume(first) && talk.state == .speaking)
  }

  @Test func `backchannels do not interrupt`() {
    // Short ones are too short.
    var talk = Talk.speaking()
    talk.speech(0.35)
    talk.silence(0.6)
    #expect(talk.state == .speaking && !talk.deeds.contains(.cancel(first)))
    // Longer ones are known by their words: before the stop,
    talk = Talk.speaking(hears: false, transcriber: true)
    talk.speech(0.3)
    talk.take(.words("Yeah, okay.", isFinal: false))
    talk.speech(0.5)
    talk.silence(0.3)
    #expect(talk.state == .speaking && !talk.deeds.contains(.hold(first)))
    // or after it.
    talk = Talk.speaking(hears: false, transcriber: true)
    talk.speech(0.7)
    #expect(talk.deeds.contains(.hold(first)))
    talk.silence(0.3)
    talk.take(.words("mhm", isFinal: false))
    #expect(talk.deeds.last == .resume(first) && talk.state == .speaking && finished(talk.events).isEmpty)
  }

  @Test(arguments: ["yeah", "Mhm.", "uh-huh", "okay, right", "I see"])
  func `signs of attention are known`(words: String) { #expect(TurnSettings().isBackchannel(words)) }

  @Test(arguments: ["", "no", "yeah but wait", "okay right sure yes", "stop"])
  func `other words are no signs of attention`(words: String) { #expect(!TurnSettings().isBackchannel(words)) }

  @Test func `speech in the avatar's first seconds is taken for its echo`() {
    var talk = Talk { $0.echoWarmUp = 3 }
    talk.take(.text("Hello."))
    talk.answer(seconds: 10)
    talk.play(to: 2.9, hearing: 0.9)
    #expect(talk.state == .speaking && !talk.deeds.contains(.duck(true)))
    talk.play(to: 4, hearing: 0.9)
    #expect(finished(talk.events) == [first], "once the echo is cancelled, speech counts")
    // It was learnt: the next utterance can be stopped at once.
    talk.silence(1)
    talk.answer(seconds: 10)
    talk.play(to: 0.7, hearing: 0.9)
    #expect(finished(talk.events) == [first, second])
  }

  @Test func `a command stops the avatar even in the warm-up`() {
    var talk = Talk { $0.echoWarmUp = 3 }
    talk.take(.say("Hello."))
    talk.answer(seconds: 10)
    talk.play(to: 1)
    talk.take(.interrupt)
    #expect(finished(talk.events) == [first] && talk.state == .idle)
  }

  // The end of a turn

  @Test func `the silence that ends a turn grows with the user's pauses, up to 3 s, and shrinks again`() {
    var talk = Talk()
    #expect(talk.conversation.endSilence == 0.5)
    talk.speech(1)
    for _ in 0..<20 {
      talk.silence(talk.conversation.endSilence - 0.1)
      talk.speech(0.5)
    }
    let slow = talk.conversation.endSilence
    #expect(slow > 0.55 && slow <= 3)
    for _ in 0..<40 {
      talk.silence(0.25)
      talk.speech(0.3)
    }
    #expect(talk.conversation.endSilence < slow)
    var end = EndOfTurn(TurnSettings())
    for _ in 0..<100 { end.learn(pause: 10) }
    #expect(end.silence == 3)
    for _ in 0..<100 { end.learn(pause: 0) }
    #expect(end.silence == 0.5)
  }

  @Test func `a turn that goes on while its answer is awaited is taken up again`() {
    var talk = Talk.thinking()
    talk.take(.answerSound(first, seconds: 1))
    talk.silence(0.3)
    talk.speech(0.4)
    #expect(talk.state == .listening && finished(talk.events) == [first])
    #expect(talk.deeds == [.cancel(first), .truncate(first, playedSeconds: 0, text: "")], "its sound is kept")
    #expect(talk.conversation.endSilence > 0.85, "such a pause is waited out from now on")
    talk.silence(0.7)
    #expect(talk.state == .listening)
    talk.silence(0.5)
    #expect(talk.state == .thinking)
  }

  // Answers that are prepared

  @Test func `an answer is asked for in a pause and released when the turn is over`() {
    var talk = Talk.listening(prepares: true)
    let end = talk.now
    talk.silence(0.26)
    #expect(talk.deeds == [.respond(first, history: [], text: nil, hasSound: true)] && talk.state == .listening)
    talk.answer("Yes.", seconds: 1)
    #expect(!talk.events.contains(.avatarTranscript(first, delta: "Yes.", at: 0)), "nothing is told before")
    talk.silence(0.3)
    #expect(talk.deeds.last == .release && talk.state == .thinking)
    let released = talk.time(of: .release)! - end
    #expect(abs(released - 0.512) < 0.001, "as late as an answer that is not prepared is asked for")
    #expect(talk.events.contains(.avatarTranscript(first, delta: "Yes.", at: 0)))
    talk.play(to: 1, isLast: true)
    #expect(talk.state == .idle && talk.states == [.thinking, .speaking, .idle])
  }

  @Test func `a pause that was not the end throws the prepared answer away`() {
    var talk = Talk.listening(prepares: true)
    talk.silence(0.3)
    talk.take(.answerWords(first, "Yes.", at: 0))
    talk.take(.answerSound(first, seconds: 1))
    let wait = talk.conversation.endSilence
    talk.speech(0.3)
    #expect(talk.deeds.dropFirst() == [.cancel(first), .truncate(first, playedSeconds: 0, text: "")])
    #expect(talk.state == .listening && talk.states.isEmpty && finished(talk.events) == [first])
    #expect(!talk.events.contains { if case .avatarTranscript = $0 { true } else { false } })
    #expect(talk.conversation.endSilence < wait + 0.05, "nothing was taken for the end")
    talk.log = []
    talk.silence(0.55)
    #expect(talk.deeds == [.respond(second, history: [], text: nil, hasSound: true), .release])
  }

  @Test func `words of a turn that may go on are not final`() {
    var talk = Talk.listening(hears: false, transcriber: true, prepares: true)
    talk.silence(0.26)
    talk.take(.words("What is", isFinal: true))
    #expect(talk.deeds.last == .respond(first, history: [], text: "What is", hasSound: true))
    talk.speech(0.3)
    #expect(talk.conversation.history.isEmpty)
    talk.silence(0.26)
    talk.take(.words("What is the time?", isFinal: true))
    talk.silence(0.3)
    let words = talk.events.compactMap {
      if case .userTranscript(let text, let isFinal) = $0 { (text, isFinal) } else { nil }
    }
    #expect(words.map(\.0) == ["What is", "What is the time?", "What is the time?"])
    #expect(words.map(\.1) == [false, false, true])
    #expect(talk.conversation.history == [Turn(.user, "What is the time?")])
  }

  @Test func `a click does not keep a turn open whose answer is prepared`() {
    var talk = Talk.listening(prepares: true)
    let end = talk.now
    talk.silence(0.4)
    talk.speech(0.032)
    talk.silence(0.2)
    #expect(talk.time(of: .release)! - end < 0.55)
  }

  @Test func `the button of push-to-talk releases what is prepared`() {
    var talk = Talk.listening(prepares: true)
    talk.silence(0.26)
    talk.take(.commit)
    #expect(talk.deeds.last == .release && talk.state == .thinking)
  }

  @Test func `what is typed instead takes the place of what is prepared`() {
    var talk = Talk.listening(prepares: true)
    talk.silence(0.26)
    talk.answer("Yes.", seconds: 1)
    talk.take(.text("Hello."))
    #expect(talk.state == .thinking && talk.conversation.secondsToEndOfTurn == nil)
    #expect(!talk.events.contains(.avatarTranscript(first, delta: "Yes.", at: 0)) && finished(talk.events) == [first])
  }

  @Test func `noise, and words that are not known yet, prepare nothing`() {
    var noise = Talk(prepares: true)
    noise.speech(0.15)
    noise.silence(0.3)
    #expect(noise.deeds == [.startTurn])
    var browser = Talk(hears: false, prepares: true)
    browser.speech(1)
    browser.take(.words("what is", isFinal: false))
    browser.silence(0.3)
    #expect(browser.deeds == [.startTurn])
    var off = Talk(prepares: false)
    off.speech(1)
    off.silence(0.4)
    #expect(off.deeds == [.startTurn])
  }

  @Test func `a cough while the answer is awaited changes nothing`() {
    var talk = Talk.thinking()
    talk.speech(0.15)
    talk.silence(0.5)
    #expect(talk.state == .thinking && talk.deeds.isEmpty)
  }

  @Test func `a noise is no turn`() {
    var talk = Talk()
    talk.speech(0.15)
    talk.silence(0.6)
    #expect(talk.state == .idle && talk.deeds == [.startTurn, .forgetTurn(wasAnswered: false)])
    talk.log = []
    talk.speech(0.03)
    talk.silence(0.5)
    #expect(talk.log.isEmpty)
  }

  @Test func `the button of push-to-talk ends a turn at once`() {
    var talk = Talk.listening()
    talk.take(.commit)
    #expect(talk.deeds == [.respond(first, history: [], text: nil, hasSound: true)] && talk.state == .thinking)
  }

  @Test func `a microphone that falls silent ends the turn`() {
    var talk = Talk.listening()
    talk.wait(1.2)
    #expect(talk.state == .thinking)
  }

  @Test func `a turn has an end`() {
    var talk = Talk { $0.longestTurn = 5 }
    talk.speech(5.1)
    #expect(talk.state == .thinking)
  }

  // Words

  @Test func `a responder that does not hear is given the words`() {
    var talk = Talk.listening(hears: false, transcriber: true)
    talk.silence(0.55)
    #expect(talk.deeds == [.transcribe(isFinal: true)] && talk.state == .thinking)
    talk.take(.words("What is the time?", isFinal: true))
    #expect(talk.deeds.last == .respond(first, history: [], text: "What is the time?", hasSound: true))
    #expect(talk.conversation.history == [Turn(.user, "What is the time?")])
  }

  @Test func `speech without words is not answered`() {
    var talk = Talk.listening(hears: false, transcriber: true)
    talk.silence(0.55)
    talk.take(.words(" ", isFinal: true))
    #expect(talk.state == .idle && talk.deeds.last == .forgetTurn(wasAnswered: false))
  }

  @Test func `words that cannot be found out are an error and the conversation goes on`() {
    var talk = Talk.listening(hears: false, transcriber: true)
    talk.silence(0.55)
    talk.take(.wordsFailed(SessionError(.transcriptionFailed, "No.")))
    #expect(talk.state == .idle && talk.events.contains(.error(SessionError(.transcriptionFailed, "No."))))
  }

  @Test func `words of a browser are waited for, those so far are taken`() {
    var talk = Talk(hears: false)
    talk.speech(1)
    talk.take(.words("what is", isFinal: false))
    talk.silence(0.55)
    #expect(talk.state == .thinking && talk.deeds == [.startTurn])
    talk.wait(1.6)
    #expect(talk.deeds.last == .respond(first, history: [], text: "what is", hasSound: true))
  }

  @Test func `nobody who could hear is an error that says what to do`() {
    var talk = Talk.listening(hears: false)
    talk.silence(0.55)
    #expect(talk.state == .idle)
    #expect(talk.events.contains { if case .error(let error) = $0 { error.code == .notAvailable } else { false } })
  }

  @Test func `a turn taken up again while its words are awaited is written down whole`() {
    var talk = Talk.listening(hears: false, transcriber: true)
    talk.silence(0.55)
    talk.speech(0.4)
    #expect(talk.state == .listening)
    talk.take(.words("half of it", isFinal: true))
    #expect(talk.state == .listening, "the words of the first half do not answer it")
    talk.silence(1)
    #expect(talk.deeds.last == .transcribe(isFinal: true))
  }

  @Test func `what the responder heard is the user's turn`() {
    var talk = Talk.thinking()
    talk.take(.heard(first, "Good morning."))
    talk.answer("Good morning to you.", seconds: 1)
    talk.play(to: 1, isLast: true)
    #expect(talk.conversation.history.map(\.text) == ["Good morning.", "Good morning to you."])
  }

  // Voice activity

  @Test func `speech begins at one probability and ends below another`() {
    var detector = SpeechDetector(TurnSettings())
    #expect((0..<20).allSatisfy { _ in detector.take(0.49) == nil })
    #expect(detector.take(0.5) == nil && detector.take(0.6) == .began)
    #expect((0..<100).allSatisfy { _ in detector.take(0.4) == nil } && detector.isSpeaking)
    let changes = (0..<7).map { _ in detector.take(0.3) }
    #expect(changes.compactMap { $0 } == [.ended] && changes.last == .ended)
  }

  @Test func `speech lasts from its first to its last window`() {
    var detector = SpeechDetector(TurnSettings())
    for _ in 0..<10 { _ = detector.take(0.9) }
    #expect(abs(detector.speech - 0.32) < 1e-9)
    for _ in 0..<3 { _ = detector.take(0.1) }
    #expect(abs(detector.speech - 0.32) < 1e-9 && abs(detector.silence - 0.096) < 1e-9 && detector.isSpeaking)
    for _ in 0..<2 { _ = detector.take(0.9) }
    #expect(abs(detector.speech - 0.48) < 1e-9 && detector.silence == 0)
  }
}
