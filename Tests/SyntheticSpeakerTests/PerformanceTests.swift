import Basics
import Testing

@testable import SyntheticSpeaker

@Suite struct PerformanceTests {
  private func moving(_ motion: Motion, _ tempo: Motion.Tempo = .normal) -> Performance {
    Performance(seconds: 3, motions: [TimedMotion(name: motion, tempo: tempo, start: 0.5, end: 2.5, strength: 1)])
  }

  @Test func `Named movements move what they name`() {
    func extremes(_ motion: Motion, _ value: (FrameState) -> Double) -> (least: Double, most: Double) {
      let values = stride(from: 0, to: 3, by: 0.05).map { value(moving(motion).state(at: $0)) }
      return (values.min() ?? 0, values.max() ?? 0)
    }
    #expect(extremes(.nod, \.pitch).most > 10)
    #expect(extremes(.shake, \.yaw).most > 10 && extremes(.shake, \.yaw).least < -10)
    #expect(extremes(.tiltLeft, \.roll).least < -10 && extremes(.tiltRight, \.roll).most > 10)
    #expect(extremes(.turnLeft, \.yaw).least < -20 && extremes(.turnRight, \.yaw).most > 20)
    #expect(extremes(.lookLeft, \.gazeX).least < -0.8 && extremes(.lookRight, \.gazeX).most > 0.8)
    #expect(extremes(.lookUp, \.gazeY).least < -0.8 && extremes(.lookDown, \.gazeY).most > 0.8)
    #expect(extremes(.raiseBrows, \.face.browRaise).most > 0.9)
  }

  @Test(arguments: Motion.allCases) func `A movement begins and ends softly`(motion: Motion) {
    let performance = moving(motion)
    var last = performance.state(at: 0)
    for time in stride(from: 0.005, to: 3, by: 0.005) {
      let state = performance.state(at: time)
      #expect(abs(state.yaw - last.yaw) < 1 && abs(state.pitch - last.pitch) < 1 && abs(state.roll - last.roll) < 1)
      last = state
    }
    #expect(performance.state(at: 0.5) == performance.state(at: 2.5))
  }

  @Test func `A blink is closed in at least one picture`() {
    for start in stride(from: 0.3, to: 1.3, by: 0.013) {
      let states = Performance(seconds: 2, blinks: [start]).states(
        frames: 32, framesPerSecond: 16, mouth: MouthTrack([Phoneme(symbol: "_", start: 0, end: 2)]))
      #expect(states.contains { $0.blink == 1 } && states.first?.blink == 0 && states.last?.blink == 0)
    }
  }

  @Test func `Captions name the person, the expression, the movements and the language`() {
    var random = SeededRandom(seed: 1)
    var identity = Identity(using: &random)
    identity.gender = .woman
    identity.age = .young
    identity.hairStyle = .short
    identity.hairName = "black"
    identity.glasses = .round
    identity.beard = .none
    identity.clothes = .shirt
    identity.clothesName = "orange"
    let performance = Performance(
      seconds: 5, expressions: [.init(name: .smile, start: 0)],
      motions: [
        TimedMotion(name: .nod, tempo: .slow, start: 0, end: 1, strength: 1),
        TimedMotion(name: .lookLeft, tempo: .normal, start: 2, end: 3, strength: 1),
      ])
    #expect(
      SyntheticClip.caption(identity, performance, .english)
        == "A young woman with short black hair, glasses and an orange shirt, smiling, nods slowly and looks left while "
        + "speaking English.")
    let still = Performance(seconds: 5, expressions: [.init(name: .sad, start: 0), .init(name: .smile, start: 2)])
    #expect(
      SyntheticClip.caption(identity, still, .german).hasSuffix(
        ", first looking sad, then smiling, keeps the head still while speaking German."))
  }

  @Test func `Expressions follow each other`() {
    let performance = Performance(
      seconds: 4, expressions: [.init(name: .sad, start: 0), .init(name: .smile, start: 2)])
    #expect(performance.state(at: 1).expression == .sad && performance.state(at: 1).face == FacialExpression.sad.shape)
    #expect(performance.state(at: 3).expression == .smile && performance.state(at: 3).face.smile == 1)
  }
}
