import Basics
import Foundation
import NN
import Testing

@testable import Training

@Suite struct ConfigurationTests {
  struct Adapter: CheckedSettings {
    var rank = 8
    func check(_ check: inout ConfigurationCheck) { check.positive("rank", rank) }
  }

  struct Stage: TrainingConfiguration {
    var steps = 100
    var name = "stage"
    var isLiteral = false
    var layers = [1, 2, 3]
    var adapter: Adapter?
    var maximum: Int?
    var student = OptimizerSettings()
    var ema = EMASettings()

    static let standard = Stage()
    static var presets: KeyValuePairs<String, Stage> {
      var dmd = Stage()
      dmd.steps = 4000
      dmd.student.learningRate = 2e-6
      dmd.adapter = Adapter(rank: 128)
      return ["tiny.dmd": Stage(), "livetalk-1.3b.dmd": dmd]
    }

    func check(_ check: inout ConfigurationCheck) {
      check.positive("steps", steps)
      check.settings("student", student)
      check.settings("ema", ema)
      if let adapter { check.settings("adapter", adapter) }
    }
  }

  func read(_ text: String, preset: String? = nil, _ overrides: String...) throws -> Stage {
    let folder = try TemporaryFolder()
    let file = try folder.write(text, to: "stage.yaml")
    return try readConfiguration(Stage.self, file: file, preset: preset, overrides: overrides)
  }

  func refusal(_ text: String, _ overrides: String...) -> String {
    message {
      let folder = try TemporaryFolder()
      let file = try folder.write(text, to: "stage.yaml")
      _ = try readConfiguration(Stage.self, file: file, overrides: overrides)
    }
  }

  @Test func `Missing keys keep their defaults, in maps as well`() throws {
    var expected = Stage()
    expected.steps = 7
    expected.student.learningRate = 1e-5
    expected.student.betas = [0, 0.999]
    let yaml = "steps: 7\nstudent:\n  learningRate: 1e-5\n  betas: [0, 0.999]\nema:\n"
    #expect(try read(yaml) == expected)
    #expect(try read(#"{"steps": 7, "student": {"learningRate": 0.00001, "betas": [0, 0.999]}}"#) == expected)
    #expect(try read("") == Stage())
    #expect(try readConfiguration(Stage.self) == Stage())
  }

  @Test func `A preset is where it starts, named in the file or by the caller`() throws {
    let configuration = try read("preset: livetalk-1.3b.dmd\nsteps: 5\n")
    #expect(configuration.steps == 5)
    #expect(configuration.student.learningRate == 2e-6)
    #expect(try read("steps: 5", preset: "livetalk-1.3b.dmd") == configuration)
    #expect(try read("preset: tiny.dmd", preset: "livetalk-1.3b.dmd").steps == 4000)
    #expect(try read("preset: tiny.dmd", "preset=livetalk-1.3b.dmd", "student.epsilon=0.5").steps == 4000)
    #expect(
      refusal("preset: livetalk-1.3b.dmp").contains(
        "unknown preset 'livetalk-1.3b.dmp'; did you mean 'livetalk-1.3b.dmd'?"))
    #expect(refusal("preset: other").contains("there are 'tiny.dmd', 'livetalk-1.3b.dmd'"))
    #expect(refusal("preset: [1]").contains("'preset' must be a name"))
  }

  @Test func `Overrides come last`() throws {
    let configuration = try read(
      "steps: 5", "steps=6", "student.learningRate=1e-5", "student.decay=cosine", "isLiteral=true", "layers=[4]",
      "name=a=b")
    #expect(configuration.steps == 6)
    #expect(configuration.student.learningRate == 1e-5)
    #expect(configuration.student.decay == .cosine)
    #expect(configuration.isLiteral)
    #expect(configuration.layers == [4])
    #expect(configuration.name == "a=b")
    #expect(refusal("", "steps").contains("'steps' sets no key"))
    #expect(refusal("", "student..epsilon=1").contains("sets no key"))
  }

  @Test func `What may be absent can be given and taken away`() throws {
    #expect(try read("maximum: 3\nadapter: {rank: 4}").adapter == Adapter(rank: 4))
    #expect(try read("maximum: 3").maximum == 3)
    #expect(try read("preset: livetalk-1.3b.dmd").adapter?.rank == 128)
    #expect(try read("preset: livetalk-1.3b.dmd\nadapter: null").adapter == nil)
    #expect(try read("maximum: null\nadapter: ~") == Stage())
  }

  @Test(arguments: [
    ("student: {learnig_rate: 1}", "unknown key 'student.learnig_rate'; did you mean 'learningRate'?"),
    ("step: 1", "unknown key 'step'; did you mean 'steps'?"), ("nothing: null", "unknown key 'nothing'; known are"),
    ("adapter: {rank: 1, runk: 1}", "unknown key 'adapter.runk'; did you mean 'rank'?"),
    ("a: 1\nstudent: {colour: 1}", "unknown key 'a'; known are"),
    ("steps: fast", "'steps' must be a whole number, not 'fast'"),
    ("steps: 1.5", "'steps' must be a whole number, not '1.5'"),
    ("steps:", "'steps' must be a whole number, not nothing"),
    ("student: {learningRate: [1]}", "'student.learningRate' must be a single value, not a list"),
    ("student: 3", "'student' must be keys with values, not '3'"),
    ("isLiteral: 3", "'isLiteral' must be true or false, not '3'"),
    ("layers: [1, x]", "'layers.1' must be a whole number, not 'x'"), ("layers: 3", "'layers' must be a list, not '3'"),
    ("name: {a: 1}", "'name' must be a single value, not keys with values"),
    ("adapter: {}", "'adapter.rank' is missing"),
    ("student: {decay: slow}", "'student.decay' must be one of 'none', 'cosine', 'linear', not 'slow'"),
    ("steps: 0", "'steps' must be at least 1, not 0"),
    ("ema: {decay: 1}", "'ema.decay' must be at least 0.0 and below 1.0"),
    ("student: {betas: [0.9]}", "'student.betas' must be two numbers"), ("steps: 1\nsteps: 2", "more than one 'steps'"),
    ("steps: [1", "line 2, column"), ("- 1", "must hold keys and values"),
    (
      "student: {learningRate: -1, epsilon: 0}",
      "'student.learningRate' must be greater than 0, not -1.0; 'student.epsilon'"
    ),
  ])
  func `What is wrong is told with the path of its key`(yaml: String, reason: String) {
    let text = refusal(yaml)
    #expect(text.contains(reason) && text.contains("stage.yaml"), "\(text)")
  }

  @Test func `Several unknown keys are told at once`() {
    let text = refusal("a: 1\nstudent: {colour: 1}")
    #expect(text.contains("'a'") && text.contains("'student.colour'"))
  }

  @Test func `A file that is not there is refused`() {
    let text = message { _ = try readConfiguration(Stage.self, file: URL(fileURLWithPath: "/no/such.yaml")) }
    #expect(text == "/no/such.yaml: there is no such file.")
  }

  @Test func `What was used can be written, and reads back to the last bit`() throws {
    var stage = Stage()
    stage.student.learningRate = 0.1 + 0.2
    stage.student.weightDecay = 1.0 / 3
    stage.name = "say \"ä/b\"\n"
    stage.adapter = Adapter(rank: 3)
    #expect(try read(try stage.jsonText(indented: true)) == stage)
  }

  @Test func `Settings become those of the optimiser, its schedule and its average`() {
    var settings = OptimizerSettings()
    (settings.learningRate, settings.warmupSteps, settings.betas) = (1, 4, [0, 0.5])
    #expect(settings.adamW == AdamW(beta1: 0, beta2: 0.5, weightDecay: 0.01, epsilon: 1e-8))
    #expect(settings.clippingLimit == 1)
    settings.clip = 0
    #expect(settings.clippingLimit == nil)
    #expect([0, 3, 99].map { settings.schedule(totalSteps: 100).rate(at: $0) } == [0.25, 1, 1])
    settings.decay = .linear
    #expect([52, 100].map { settings.schedule(totalSteps: 100).rate(at: $0) } == [0.5, 0])
    settings.decay = .cosine
    #expect(abs(settings.schedule(totalSteps: 100).rate(at: 28) - 0.853553390593) < 1e-9)
    var average = EMASettings()
    #expect(average.averaging == MovingAverage(weight: 0.99, start: 200))
    average.decay = 0
    #expect(average.averaging == nil)
  }

  @Test func `The settings of every stage hold what they must by default`() {
    var check = ConfigurationCheck()
    check.settings("optimizer", OptimizerSettings())
    check.settings("ema", EMASettings())
    check.settings("report", ReportSettings())
    check.settings("guard", VideoGuardSettings())
    #expect(check.problems == [])
    var report = ReportSettings()
    report.logEvery = -1
    report.keepCheckpoints = -2
    check.settings("report", report)
    #expect(
      check.problems == [
        "'report.logEvery' must be at least 0, not -1", "'report.keepCheckpoints' must be at least 0, not -2",
      ])
  }
}
