import Generation
import Models
import NN
import Torch
import Training

/// Goldens of schedules in training, flow matching, ODE regression and the distribution-matching gradient.
enum ObjectiveCases {
  static func timestepSampling(_ c: DistillCase) throws {
    for (name, shift) in [("shift5", 5.0), ("shift8", 8.0)] {
      let schedule = FlowMatchingSchedule.training(shift: shift, device: c.golden.device)
      try c.compare("\(name).sigmas", schedule.sigmas)
      try c.compare("\(name).timesteps", schedule.timesteps)
      try c.compare("\(name).training_weights", schedule.trainingWeights)
      let all = Tensor.range(1000, .float32, device: c.golden.device)
      let range = try c.config["min_step"].double()...c.config["max_step"].double()
      let shifted = FlowMatchingSchedule.shiftedTimesteps(all, shift: shift, clampedTo: range)
      try c.compare("\(name).shifted_clamped", shifted)
      for (table, tableShift) in [("shift5", 5.0), ("shift8", 8.0)] {
        let nearest = "\(name).nearest_in_\(table)"
        guard c.outputs[nearest] != nil, let given = c.outputs["\(name).shifted_clamped"] else { continue }
        let indices = FlowMatchingSchedule.training(shift: tableShift, device: c.golden.device).indices(of: given)
        try c.compareExactly(nearest, indices)
      }
      try probe(c, name, schedule)
    }
    for (name, perGroup, alone) in [("blocks", 3, false), ("blocks_first_frame", 4, true), ("one_for_all", 9, false)] {
      let draws = try c.input("\(name).draw")
      try c.compareExactly(
        "\(name).timestep",
        FlowMatching.grouped(draws, frames: 9, framesPerGroup: perGroup, firstFrameAlone: alone))
    }
    let livetalk = FlowMatchingSchedule.livetalk(device: c.golden.device)
    try c.compare("warped_list", livetalk.timesteps)
    let lists: [String: [Double]] = [
      "training_list": [1000, 936, 832, 624], "set_list": try c.config["steps"].list.map { try $0.double() },
      "self_forcing_list": livetalk.timesteps.array(Double.self),
    ]
    for (name, list) in lists.sorted(by: { $0.key < $1.key }) {
      let settings = RolloutSettings(timesteps: list)
      let ranges = list.indices.map { settings.scoreRange(endingWith: $0) }
      try c.compareExactly(
        "\(name).denoised_from_to", Tensor(ranges.flatMap { [$0.from, $0.to] }, [list.count, 2]))
    }
  }

  private static func probe(_ c: DistillCase, _ name: String, _ schedule: FlowMatchingSchedule) throws {
    let (t, x0, noise, flow) = (
      try c.input("probe.timestep"), try c.input("probe.x0"), try c.input("probe.eps"), try c.input("probe.flow")
    )
    let noisy = schedule.addNoise(x0, noise, timesteps: t)
    try c.compare("probe.\(name).noisy", noisy)
    let estimate = schedule.x0(flow: flow, xt: noisy, timesteps: t)
    try c.compare("probe.\(name).x0_from_flow", estimate)
    try c.compare("probe.\(name).flow_from_x0", schedule.flow(x0: estimate, xt: noisy, timesteps: t))
    try c.compare("probe.\(name).weight", schedule.weights(of: t))
    try c.compare("probe.\(name).step", schedule.step(flow: flow, xt: noisy, timesteps: t))
    let ordinary = Tensor([1, 3, 5, 12], device: c.golden.device)
    let picked = [flow, noisy, t].map { $0.indexSelect(0, ordinary) }
    try c.compare(
      "probe.\(name).step_ordinary", schedule.step(flow: picked[0], xt: picked[1], timesteps: picked[2]))
  }

  static func flowMatching(_ c: DistillCase) throws {
    let (model, store) = try c.model("model")
    let frames = try c.config["frames"].int()
    let causal = try c.config["causal"].bool()
    let mask = causal ? try c.mask() : nil
    let draw = FlowMatching.Draw(
      noise: try c.latents("noise"),
      indices: FlowMatching.grouped(
        try c.input("index_draw"), frames: frames, framesPerGroup: try c.config["num_frame_per_block"].int()))
    let schedule = FlowMatchingSchedule.training(shift: try c.shift, device: c.golden.device)
    let result = FlowMatching.loss(
      model, x0: try c.latents("x0"), try c.conditions(), draw, schedule: schedule, mask: mask)
    try c.compare("timestep", result.timesteps)
    try c.compare("weight", result.weights)
    try c.compareLatents("noisy", result.xt)
    try c.compareLatents("target", result.target)
    try c.compareLatents("flow", result.flow)
    try c.compareLatents(
      "x0_pred", schedule.x0(flow: result.flow.detach(), xt: result.xt, timesteps: result.timesteps))
    try c.compare("loss", result.loss, .losses)
    if let mask {
      let size = (try c.config["latent_height"].int(), try c.config["latent_width"].int())
      let made = mask.mask(
        frames: try c.config["frames"].int(),
        tokensPerFrame: model.config.tokensPerFrame(height: size.0, width: size.1), device: c.golden.device)
      try c.compareExactly("mask", made.to(.uint8))
    }
    result.loss.backward()
    try c.compareGradients("grad.", c.takeGradients(store))
  }

  static func odeRegression(_ c: DistillCase) throws {
    let (model, store) = try c.model("model")
    let schedule = FlowMatchingSchedule.training(shift: try c.shift, device: c.golden.device)
    let steps = try c.config["denoising_step_list"].list.map { try $0.double() }
    let mask = try c.mask()
    func regress(_ group: String, keepsFirstFrame: Bool = false) throws {
      let indices = ODERegression.indices(
        try c.input("\(group).index_draw"), framesPerBlock: try c.config["num_frame_per_block"].int(),
        steps: steps.count, keepsFirstFrame: keepsFirstFrame)
      let result = ODERegression.loss(
        model, trajectory: try c.input("ode_latent").transpose(2, 3), steps: steps, indices: indices,
        try c.conditions(), schedule: schedule, mask: mask)
      try c.compare("\(group).timestep", result.timesteps)
      try c.compareLatents("\(group).noisy", result.xt)
      try c.compareLatents("\(group).flow", result.flow)
      try c.compareLatents("\(group).x0_pred", result.x0)
      try c.compare("\(group).loss", result.loss, .losses)
      result.loss.backward()
    }
    try regress("i2v", keepsFirstFrame: true)
    try c.compareGradients("i2v.grad.", c.takeGradients(store))
    let betas = try c.config["betas"].list.map { try $0.double() }
    let optimizer = try ShardedOptimizer(
      store.trained,
      settings: AdamW(
        beta1: betas[0], beta2: betas[1], weightDecay: try c.config["weight_decay"].double(),
        epsilon: try c.config["adam_eps"].double()))
    var before = (own: DistillCase.copies(store), reference: DistillCase.copies(store))
    for group in ["step1", "step2"] {
      try regress(group)
      try c.step(
        group, optimizer, store, learningRate: try c.config["lr"].double(),
        clip: try c.config["max_grad_norm"].double(), before: &before)
    }
  }

  static func klGradient(_ c: DistillCase) throws {
    let estimate = try c.latents("estimate")
    func branches(_ kind: String) throws -> Guidance.Branches {
      Guidance.Branches(
        cond: try c.latents("\(kind)_cond"), text: try c.latents("\(kind)_text"),
        uncond: try c.latents("\(kind)_uncond"))
    }
    for name in c.config["guidance"].keys {
      let (real, fake) = try DistillCase.guidance(c.config["guidance"][name])
      let gradient = DistributionMatching.klGradient(
        estimate, real: real.combine(try branches("real")), fake: fake.combine(try branches("fake")))
      for sample in 0..<estimate.size(0) {
        let own = gradient.select(0, sample).transpose(0, 1)
        let key = "\(name).kl_grad.sample\(sample)"
        if sample == 0 { try c.compare(key, own) } else { try c.compareExactly(key, own) }
      }
      let first = DistributionMatching.loss(estimate.narrow(0, 0, 1), klGradient: gradient.narrow(0, 0, 1))
      try c.compare("\(name).loss_sample0", first, .losses)
    }
  }
}

extension DistillCase {
  /// The guidance of teacher and critic in a case's own convention.
  static func guidance(_ json: JSON) throws -> (real: Guidance, fake: Guidance) {
    (
      Guidance(
        text: try json["real_text"].double(), audio: try json["real_audio"].double(), convention: .literal),
      Guidance(
        text: try json["fake_text"].double(), audio: try json["fake_audio"].double(), convention: .literal)
    )
  }
}
