import Basics
import Foundation
import Generation
import Models
import NN
import Torch
import Training

/// Goldens of rollouts in training, and of the losses of student and critic.
enum RolloutCases {
  /// The flavours of the student's gradient by the names of the goldens.
  private static let flavours: [(name: String, gradient: HistoryGradient)] = [
    ("cut", .cut), ("selfforcing", .selfForcing), ("literal", .literal),
  ]

  private static func settings(_ c: DistillCase, commit: RolloutSettings.CommitPass = .noised) throws -> RolloutSettings
  {
    RolloutSettings(
      timesteps: try c.config["denoising_step_list"].list.map { try $0.double() }, shift: try c.shift,
      framesPerBlock: try c.config["num_frame_per_block"].int(), commit: commit)
  }

  /// The noise that the inputs hold under a prefix; `initial` is the name of the initial noise.
  static func noise(_ c: DistillCase, _ prefix: String, initial: String = "noise") throws -> NoiseSource {
    let whole = try c.latents(initial)
    let n = try c.config["num_frame_per_block"].int()
    func drawn(_ name: String) -> Tensor {
      guard let tensor = c.inputs[prefix + name] else {
        c.recorder.expect("input \(prefix)\(name)", false)
        return .empty([0])
      }
      return tensor.transpose(1, 2)
    }
    return NoiseSource(
      initial: { block, _ in whole.narrow(2, block * n, n) },
      renewed: { block, step, _ in drawn("eps.block\(block).step\(step)") },
      committed: { block, _ in drawn("context_eps.block\(block)") })
  }

  private static func compareCache(_ c: DistillCase, _ prefix: String, _ cache: any AttentionMemory) throws {
    for key in c.outputs.keys.sorted() where key.hasPrefix("\(prefix)cache.layer") {
      let parts = key.dropFirst("\(prefix)cache.layer".count).split(separator: ".")
      guard parts.count == 2, let layer = Int(parts[0]) else { throw LiveTalkError("'\(key)' names no layer") }
      let rows = cache.ordered(layer: layer)
      try c.compare(key, parts[1] == "k" ? rows.keys : rows.values)
    }
  }

  // MARK: Rollouts

  static func rollout(_ c: DistillCase) throws {
    let (model, store) = try c.model("model")
    let conditions = try c.conditions()
    let frames = try c.config["frames"].int()
    let base = try settings(c)
    let blocks = frames / base.framesPerBlock
    for prefix in c.config["groups"].keys {
      let exits = try c.config["groups"][prefix].ints()
      let steps = exits.count == 1 ? [Int](repeating: exits[0], count: blocks) : exits
      for (index, flavour) in flavours.enumerated() where c.outputs["\(prefix)grad.\(flavour.name).all_norms"] != nil {
        var settings = base
        settings.historyGradient = flavour.gradient
        var calls: [(x: Tensor, x0: Tensor)] = []
        let schedule = FlowMatchingSchedule.training(shift: try c.shift, device: c.golden.device)
        let clips = try StudentRollout(model, settings).generate(
          conditions, .init(steps: steps, noise: try noise(c, prefix)), recorded: true,
          tap: { x, t, flow in
            calls.append((x.detach().clone(), schedule.x0(flow: flow.detach(), xt: x.detach(), timesteps: t)))
          })
        let loss = (clips.latents - (try c.latents("loss_target"))).square().mean()
        if index == 0 {
          try c.compareLatents("\(prefix)latents", clips.latents)
          try c.compare("\(prefix)loss", loss, .losses)
          try compareCache(c, prefix, clips.memory)
          try compareCalls(c, prefix, calls)
          let range = exits.count == 1 ? settings.scoreRange(endingWith: exits[0]) : (from: -1, to: -1)
          try c.compareExactly("\(prefix)denoised_timestep", Tensor([range.from, range.to]))
        }
        loss.backward()
        try c.compareGradients("\(prefix)grad.\(flavour.name).", c.takeGradients(store))
      }
    }
  }

  private static func compareCalls(_ c: DistillCase, _ prefix: String, _ calls: [(x: Tensor, x0: Tensor)]) throws {
    for (index, call) in calls.enumerated() {
      let name = "\(prefix)call\(index < 10 ? "0" : "")\(index)"
      guard c.outputs["\(name).noisy"] != nil else { continue }
      try c.compareLatents("\(name).noisy", call.x)
      try c.compareLatents("\(name).x0", call.x0)
    }
    let stored = c.outputs.keys.filter { $0.hasPrefix("\(prefix)call") && $0.hasSuffix(".noisy") }.count
    c.recorder.expect("\(prefix)calls", stored == 0 || stored == calls.count)
  }

  // MARK: The student's loss

  private static func noising(_ c: DistillCase) throws -> ScoreNoising {
    let range =
      c.config["min_step"].exists
      ? try c.config["min_step"].double()...c.config["max_step"].double() : 20...980
    return ScoreNoising(
      shift: try c.shift, conversionShift: try c.config["score_conversion_shift"].double(), range: range,
      device: c.golden.device)
  }

  private static func expanded(_ c: DistillCase, _ timesteps: Tensor) throws -> Tensor {
    timesteps.expand(timesteps.size(0), try c.config["frames"].int())
  }

  static func generator(_ c: DistillCase) throws {
    let (student, store) = try c.model("generator")
    let (teacher, critic) = (try c.model("real").model, try c.model("fake").model)
    let (conditions, uncond) = (try c.conditions("cond."), try c.conditions("uncond."))
    let exit = try c.config["exit_step"].int()
    var settings = try settings(c)
    let steps = [Int](repeating: exit, count: try c.config["frames"].int() / settings.framesPerBlock)
    let draw = ScoreDraw(timestep: try c.input("timestep_draw"), noise: try c.latents("dmd_noise"))
    let noising = try noising(c)
    for (suffix, flavour) in [("", HistoryGradient.cut), ("_literal", .literal)] {
      settings.historyGradient = flavour
      for name in c.config["guidance"].keys where c.outputs["\(name).grad\(suffix).all_norms"] != nil {
        let (real, fake) = try DistillCase.guidance(c.config["guidance"][name])
        let clips = try StudentRollout(student, settings).generate(
          conditions, .init(steps: steps, noise: try noise(c, "")), recorded: true)
        func evaluate(ignoredFrames: Int = 0) -> (DistributionMatching.Result, gradient: Tensor?) {
          let result = DistributionMatching.loss(
            clips.latents, conditions, negativeText: uncond.text, teacher: teacher, critic: critic,
            teacherGuidance: real, criticGuidance: fake, noising: noising, draw, ignoredFrames: ignoredFrames)
          return (
            result, Tensor.gradients(of: [result.loss], with: [clips.latents], retainGraph: true)[0]
          )
        }
        let (result, latentsGradient) = evaluate()
        if flavour == .cut {
          try c.compareLatents("latents", clips.latents)
          let range = settings.scoreRange(endingWith: exit)
          try c.compareExactly("denoised_timestep", Tensor([range.from, range.to]))
          try c.compare("timestep", try expanded(c, result.timesteps))
          try c.compareLatents("noisy", result.noisy)
          for (kind, branches) in [("real", result.real), ("fake", result.fake)] {
            for (branch, value) in [("cond", branches.cond), ("text", branches.text), ("uncond", branches.uncond)] {
              let key = "\(name).\(kind)_\(branch)"
              if let value, c.outputs[key] != nil { try c.compareLatents(key, value) }
              c.recorder.expect("\(key) is needed", (value == nil) == (c.outputs[key] == nil))
            }
          }
          try c.compareLatents("\(name).kl_grad", result.klGradient)
          try c.compare("\(name).gradient_norm", result.klGradient.abs().mean())
          try c.compare("\(name).loss", result.loss, .losses)
          if let latentsGradient { try c.compareLatents("\(name).latents_grad", latentsGradient, .gradients) }
          if name == "equal" {
            let (masked, gradient) = evaluate(ignoredFrames: settings.framesPerBlock)
            try c.compare("masked.loss", masked.loss, .losses)
            if let gradient { try c.compareLatents("masked.latents_grad", gradient, .gradients) }
          }
        }
        result.loss.backward()
        try c.compareGradients("\(name).grad\(suffix).", c.takeGradients(store))
      }
    }
  }

  // MARK: The critic's loss

  static func critic(_ c: DistillCase) throws {
    let (critic, store) = try c.model("fake")
    let draw = ScoreDraw(timestep: try c.input("timestep_draw"), noise: try c.latents("critic_noise"))
    for (name, mask) in [("frame_mask", CriticObjective.Mask.frame), ("channel_mask", .channel)] {
      let result = CriticObjective.loss(
        critic, generated: try c.latents("generated"), try c.conditions("cond."), noising: try noising(c), draw,
        mask: mask)
      try c.compare("timestep", try expanded(c, result.timesteps))
      try c.compareLatents("noisy", result.noisy)
      try c.compareLatents("flow_model", result.modelFlow)
      try c.compareLatents("x0_pred", result.x0)
      try c.compareLatents("flow", result.flow)
      try c.compare("\(name).loss", result.loss, .losses)
      result.loss.backward()
      try c.compareGradients("\(name).grad.", c.takeGradients(store))
    }
  }

  // MARK: Live Avatar

  /// Algorithm 1, and algorithm 2 on the inputs of the sibling case.
  static func historyCorruption(_ c: DistillCase, blockwise: DistillCase? = nil) throws {
    let folder = c.golden.directory
    let (student, store) = try c.model("generator", in: folder)
    let (teacher, critic) = (try c.model("real", in: folder).model, try c.model("fake", in: folder).model)
    let (conditions, uncond) = (try c.conditions("cond."), try c.conditions("uncond."))
    let settings = try settings(c, commit: .lastStep)
    let blocks = try c.config["frames"].int() / settings.framesPerBlock
    let (real, fake) = try DistillCase.guidance(c.config["guidance"])
    let draw = ScoreDraw(timestep: try c.input("timestep_draw"), noise: try c.latents("dmd_noise"))
    let noising = try noising(c)
    let rollout = StudentRollout(student, settings)
    for exit in try c.config["exit_steps"].ints() {
      let prefix = "exit\(exit)."
      let clips = try rollout.generate(
        conditions, .init(steps: [Int](repeating: exit, count: blocks), noise: try noise(c, prefix)),
        recorded: blockwise == nil)
      func evaluate(_ latents: Tensor) -> DistributionMatching.Result {
        DistributionMatching.loss(
          latents, conditions, negativeText: uncond.text, teacher: teacher, critic: critic, teacherGuidance: real,
          criticGuidance: fake, noising: noising, draw)
      }
      if let blockwise {
        let latents = clips.latents.detach()
        latents.requiresGrad = true
        let loss = evaluate(latents).loss
        guard let gradient = Tensor.gradients(of: [loss], with: [latents])[0] else {
          throw LiveTalkError("the loss has no gradient")
        }
        var sum: [String: Tensor] = [:]
        try withThrowing { failure in
          rollout.backward(clips, conditions, gradient: gradient) { block, x0 in
            failure {
              let own = c.takeGradients(store)
              try blockwise.compareGradients("\(prefix)block\(block).", own)
              sum.merge(own) { $0 + $1 }
              let n = settings.framesPerBlock
              let replaced = Tensor.cat(
                [latents.narrow(2, 0, block * n), x0, latents.narrow(2, (block + 1) * n, (blocks - 1 - block) * n)], 2)
              try blockwise.compare("\(prefix)loss.block\(block)", evaluate(replaced).loss, .losses)
            }
          }
        }
        try blockwise.compareGradients("\(prefix)grad.", sum)
      } else {
        let result = evaluate(clips.latents)
        try c.compare("timestep", try expanded(c, result.timesteps))
        try c.compareLatents("\(prefix)latents", clips.latents)
        for (block, start) in clips.inputs.enumerated() {
          let pinned = block == 0 ? ReferenceLatent.pinned(start, to: conditions.referenceLatent) : start
          try c.compareLatents("\(prefix)start.block\(block)", pinned)
        }
        try compareCache(c, prefix, clips.memory)
        try c.compareLatents("\(prefix)kl_grad", result.klGradient)
        try c.compare("\(prefix)loss", result.loss, .losses)
        result.loss.backward()
        try c.compareGradients("\(prefix)grad.", c.takeGradients(store))
      }
    }
  }

  static func blockwise(_ c: DistillCase, _ recorder: ParityRecorder) throws {
    let sibling = c.golden.directory.deletingLastPathComponent().appendingPathComponent("history_corrupt")
    let corrupt = try ParityCase(directory: sibling, device: c.golden.device, media: c.golden.media)
    try historyCorruption(try DistillCase(corrupt, recorder), blockwise: c)
  }

  /// Runs a body that hands throwing work to a callback that cannot throw; the first error is thrown at the end.
  private static func withThrowing(_ body: ((() throws -> Void) -> Void) -> Void) throws {
    var first: (any Error)?
    body { work in
      do { try work() } catch { first = first ?? error }
    }
    if let first { throw first }
  }
}
