package import Torch

/// A table of noise levels for flow matching: xt = (1 - sigma)·x0 + sigma·noise, flow = noise - x0, timestep = 1000·sigma.
///
/// sigma = shift·s / (1 + (shift - 1)·s) for evenly spaced s from 1 down to `sigmaMin`, in fp32. A timestep stands for the
/// entry nearest to it, the first one on ties; nothing is interpolated. Source: the reference's `FlowMatchScheduler`.
package struct FlowMatchingSchedule: Sendable {
  package let sigmas: Tensor  // [N], fp32
  package let timesteps: Tensor  // [N], fp32

  /// The 4 steps of LiveTalk: 1000, 937.5, 833.33, 625.
  package static func livetalk(device: Device = .cpu) -> FlowMatchingSchedule {
    FlowMatchingSchedule(shift: 5, steps: 4, device: device)
  }

  /// - Parameter extraOneStep: `s` has one point more, which is left out, so that the last step is not at `sigmaMin`.
  package init(shift: Double, steps: Int, sigmaMin: Double = 0, extraOneStep: Bool = true, device: Device = .cpu) {
    let steps = max(steps, 0)
    let even =
      extraOneStep
      ? Tensor.linspace(1, sigmaMin, count: steps + 1).narrow(0, 0, steps) : Tensor.linspace(1, sigmaMin, count: steps)
    let sigmas = even * shift / (even * (shift - 1) + 1)
    self.sigmas = sigmas.to(device)
    timesteps = (sigmas * 1000).to(device)
  }

  /// Live Avatar's: bent towards noise twice, as the published sampler bends its table and then the levels it reads off that. The 4
  /// steps are 1000, 857.69, 602.15 and 8.93.
  ///
  /// Source: `FlowMatchEulerDiscreteScheduler` of the diffusers library with a static shift.
  package static func liveAvatar(shift: Double = 3, steps: Int = 4, device: Device = .cpu) -> FlowMatchingSchedule {
    func bent(_ s: Double) -> Double { shift * s / (1 + (shift - 1) * s) }
    let (highest, lowest) = (bent(1), bent(1.0 / 1000))
    let sigmas = (0..<steps).map { index in
      bent(highest + (lowest - highest) * Double(index) / Double(max(steps - 1, 1)))
    }
    return FlowMatchingSchedule(sigmas: Tensor(sigmas, device: device).to(.float32))
  }

  private init(sigmas: Tensor) { (self.sigmas, timesteps) = (sigmas, sigmas * 1000) }

  package var count: Int { sigmas.size(0) }

  /// The weight of each entry in a training loss: a bell around the middle timestep, zero at its lowest, 1 on average.
  package var trainingWeights: Tensor {
    let steps = Double(count)
    let bell = (((timesteps - steps / 2) / steps).square() * -2).exp()
    let raised = bell - bell.min()
    return raised * (steps / raised.sum())
  }

  /// The entries `[n]` nearest to `timesteps` of any shape with n elements.
  package func indices(of timesteps: Tensor) -> Tensor {
    (self.timesteps.unsqueeze(0) - timesteps.flatten().unsqueeze(1)).abs().argmin(1)
  }

  /// The reference's training table: 1000 entries.
  package static func training(shift: Double = 5, device: Device = .cpu) -> FlowMatchingSchedule {
    FlowMatchingSchedule(shift: shift, steps: 1000, device: device)
  }

  // Below, `timesteps` are `[n]` for tensors `[n, ...]`, or `[B, F]` or `[B, 1]` for latents `[B, C, F, H, W]`.

  /// x0 = xt - sigma·flow, in fp64, in the type of the flow.
  package func x0(flow: Tensor, xt: Tensor, timesteps: Tensor) -> Tensor {
    (xt.to(.float64) - levels(timesteps, like: flow, .float64) * flow.to(.float64)).to(flow.dtype)
  }

  /// flow = (xt - x0) / sigma, in fp64, in the type of x0.
  package func flow(x0: Tensor, xt: Tensor, timesteps: Tensor) -> Tensor {
    ((xt.to(.float64) - x0.to(.float64)) / levels(timesteps, like: x0, .float64)).to(x0.dtype)
  }

  /// (1 - sigma)·x0 + sigma·noise in fp32, in the type of the noise.
  package func addNoise(_ x0: Tensor, _ noise: Tensor, timesteps: Tensor) -> Tensor {
    let sigma = levels(timesteps, like: x0, .float32)
    return ((1 - sigma) * x0 + sigma * noise).to(noise.dtype)
  }

  /// One Euler step from each timestep to the next entry; to 0 for all where one of them is the last entry, as the reference does.
  package func step(flow: Tensor, xt: Tensor, timesteps: Tensor) -> Tensor {
    let index = indices(of: timesteps)
    let sigma = levels(timesteps, like: xt, .float32)
    let reachesEnd = index.max().intItem + 1 >= count
    let next = reachesEnd ? sigma * 0 : sigmas.indexSelect(0, index + 1).reshape(sigma.shape)
    return xt + flow * (next - sigma)
  }

  /// One Euler step of a sample from one noise level to another.
  ///
  /// The difference of the levels and its product with the flow are rounded to the flow's type, the sum is in fp32 and rounded to it
  /// again, as the published sampler does; in fp32 nothing is rounded.
  package static func eulerStep(_ x: Tensor, _ flow: Tensor, from sigma: Double, to next: Double) -> Tensor {
    let distance = Tensor([Float(next) - Float(sigma)], device: flow.device).to(flow.dtype)
    return (x.to(.float32) + (flow * distance).to(.float32)).to(flow.dtype)
  }

  /// The weights of timesteps in a training loss, `[n]`.
  package func weights(of timesteps: Tensor) -> Tensor { trainingWeights.indexSelect(0, indices(of: timesteps)) }

  /// Sigmas of timesteps, to multiply with `tensor`: `[n, 1, ...]`, or `[B, 1, F, 1, 1]`.
  private func levels(_ timesteps: Tensor, like tensor: Tensor, _ dtype: DType) -> Tensor {
    let levels = sigmas.indexSelect(0, indices(of: timesteps)).to(dtype)
    let perFrame = timesteps.rank == 2
    let shape = perFrame ? [timesteps.size(0), 1, timesteps.size(1)] : [timesteps.count]
    return levels.reshape(shape + [Int](repeating: 1, count: tensor.rank - shape.count))
  }

  /// Timesteps drawn for a score model: whole numbers shifted by s·u / (1 + (s - 1)·u) · 1000, u = t / 1000, and clamped.
  package static func shiftedTimesteps(_ base: Tensor, shift: Double, clampedTo range: ClosedRange<Double>) -> Tensor {
    let u = base.to(.float32) / 1000
    // In the reference's order of operations: a timestep off by its last place turns the fastest sinusoid by 6e-5.
    return (u * shift / (u * (shift - 1) + 1) * 1000).clamp(range.lowerBound, range.upperBound)
  }
}

extension FlowMatchingSchedule {
  /// One step of few-step generation: what the model is told, and the noise level that is meant.
  package struct Step: Sendable {
    /// `[1, 1]` in the run's type: in bf16 the model sees 936 where fp32 has 937.5.
    package let timestep: Tensor
    package let sigma: Double

    package init(timestep: Tensor, sigma: Double) {
      self.timestep = timestep
      self.sigma = sigma
    }
  }

  /// Steps at the given timesteps, each with the level of the entry nearest to it: in training the model is told the timesteps of
  /// a list, which need not be entries of the table.
  package func steps(at timesteps: [Double], _ dtype: DType) -> [Step] {
    timesteps.map {
      let timestep = Tensor([Float($0)], device: sigmas.device)
      return Step(
        timestep: timestep.to(dtype).unsqueeze(0), sigma: sigmas.indexSelect(0, indices(of: timestep)).item)
    }
  }

  /// The steps of the table in the type of a run.
  package func steps(_ dtype: DType) -> [Step] {
    (0..<count).map {
      Step(timestep: timesteps.narrow(0, $0, 1).to(dtype).unsqueeze(0), sigma: sigmas.select(0, $0).item)
    }
  }
}
