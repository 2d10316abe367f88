import Basics
import Generation
import Models
import NN
import Torch
import Training

/// The golden of whole training iterations: student, critic, clipping, AdamW and the moving average in the trainer's order.
enum StepCases {
  static func run(_ c: DistillCase) throws {
    let (student, studentStore) = try c.model("generator")
    let (critic, criticStore) = try c.model("fake")
    let teacher = try c.model("real").model
    let average = MovingAverage(
      weight: try c.config["ema_weight"].double(), start: try c.config["ema_start_step"].int())
    let studentOptimizer = try ShardedOptimizer(studentStore.trained, settings: try adamW(c), averaging: average)
    let criticOptimizer = try ShardedOptimizer(criticStore.trained, settings: try adamW(c))
    var studentBefore = (own: DistillCase.copies(studentStore), reference: DistillCase.copies(studentStore))
    var criticBefore = (own: DistillCase.copies(criticStore), reference: DistillCase.copies(criticStore))
    let initial = studentBefore
    let settings = RolloutSettings(
      timesteps: try c.config["denoising_step_list"].list.map { try $0.double() }, shift: try c.shift,
      framesPerBlock: try c.config["num_frame_per_block"].int(), commit: .noised)
    let noising = ScoreNoising(
      shift: try c.shift, conversionShift: try c.config["score_conversion_shift"].double(), device: c.golden.device)
    let (real, fake) = try DistillCase.guidance(c.config["guidance"])
    let negative = try c.input("negative_prompt_embeds")
    let ratio = try c.config["dfake_gen_update_ratio"].int()

    for iteration in 0..<(try c.config["iterations"].int()) {
      let later: Double = iteration == 0 ? 1 : 20
      if iteration % ratio == 0 {
        let prefix = "it\(iteration).generator"
        let (conditions, draw) = (try c.conditions("\(prefix)."), try scoreDraw(c, prefix))
        let clips = try generate(c, prefix, StudentRollout(student, settings), conditions, recorded: true)
        let result = DistributionMatching.loss(
          clips.latents, conditions, negativeText: negative, teacher: teacher, critic: critic, teacherGuidance: real,
          criticGuidance: fake, noising: noising, draw)
        try c.compare("\(prefix).loss", result.loss, .losses, factor: later)
        result.loss.backward()
        try c.step(
          prefix, studentOptimizer, studentStore, learningRate: try c.config["lr"].double(),
          clip: try c.config["max_grad_norm_generator"].double(), before: &studentBefore, factor: later)
      }
      // From here on the student has moved.
      let prefix = "it\(iteration).critic"
      let (conditions, draw) = (try c.conditions("\(prefix)."), try scoreDraw(c, prefix))
      let clips = try generate(c, prefix, StudentRollout(student, settings), conditions, recorded: false)
      let result = CriticObjective.loss(
        critic, generated: clips.latents, conditions, noising: noising, draw, mask: .channel)
      try c.compare("\(prefix).loss", result.loss, .losses, factor: 20)
      result.loss.backward()
      try c.step(
        prefix, criticOptimizer, criticStore, learningRate: try c.config["lr_critic"].double(),
        clip: try c.config["max_grad_norm_critic"].double(), before: &criticBefore, factor: 20)
      studentOptimizer.startAverage(counter: iteration + 1)
    }
    guard let averages = try studentOptimizer.averages() else { throw LiveTalkError("there is no moving average") }
    try c.compareMoves(
      "ema.", Dictionary(uniqueKeysWithValues: averages.map { ($0.name, $0.tensor) }), from: initial,
      learningRate: try c.config["lr"].double())
  }

  private static func adamW(_ c: DistillCase) throws -> AdamW {
    let betas = try c.config["betas"].list.map { try $0.double() }
    return AdamW(
      beta1: betas[0], beta2: betas[1], weightDecay: try c.config["weight_decay"].double(),
      epsilon: try c.config["adam_eps"].double())
  }

  private static func scoreDraw(_ c: DistillCase, _ prefix: String) throws -> ScoreDraw {
    ScoreDraw(timestep: try c.input("\(prefix).timestep_draw"), noise: try c.latents("\(prefix).score_noise"))
  }

  private static func generate(
    _ c: DistillCase, _ prefix: String, _ rollout: any ClipRollout, _ conditions: Conditions, recorded: Bool
  ) throws -> RolloutClips {
    // One step for all blocks: the first draw counts.
    let exits = try c.input("\(prefix).exit_draw")
    let step = exits.select(0, 0).intItem
    return try rollout.generate(
      conditions,
      .init(
        steps: [Int](repeating: step, count: exits.size(0)),
        noise: try RolloutCases.noise(c, "\(prefix).", initial: "\(prefix).noise")),
      recorded: recorded)
  }
}
