import Generation
package import Models
package import Torch

/// Solves the guided teacher's ODE from noise to a clip: for trajectories and samples.
package struct TeacherSampler {
  let teacher: any TrainableTransformer
  let guidance: Guidance
  let negativeText: Tensor
  let shift: Double
  /// Euler steps from noise to the clean end.
  let solverSteps: Int
  /// Of a model that was trained with one.
  let mask: BlockMask?

  /// - Parameter negativeText: the negative prompt, `[1, L, textDim]`.
  package init(
    teacher: any TrainableTransformer, guidance: Guidance, negativeText: Tensor, shift: Double, solverSteps: Int,
    mask: BlockMask? = nil
  ) {
    (self.teacher, self.guidance, self.negativeText) = (teacher, guidance, negativeText)
    (self.shift, self.solverSteps, self.mask) = (shift, solverSteps, mask)
  }

  /// The states at the given timesteps and the clean end, `[B, S + 1, C, F, H, W]`, with what is given in its place.
  ///
  /// - Parameters:
  ///   - noise: `[B, C, F, H, W]`.
  ///   - timesteps: decreasing from 1000; each is met exactly, with solver steps spread evenly between them.
  package func trajectory(_ noise: Tensor, _ conditions: Conditions, timesteps: [Double]) -> Tensor {
    return withGradients(false) {
      var x = teacher.pinned(noise.to(.float32), to: conditions)
      var states = [x]
      for part in grid(timesteps) {
        for (sigma, next) in zip(part, part.dropFirst()) {
          let flow = predict(x, sigma, conditions)
          x = teacher.pinned(x + flow * (next - sigma), to: conditions)
        }
        states.append(x)
      }
      return Tensor.stack(states, 1)
    }
  }

  /// The solver's sigmas, in parts: from each timestep down to the next, the last to 0.
  func grid(_ timesteps: [Double]) -> [[Double]] {
    // Evenly before the shift, as in training.
    func unshifted(_ sigma: Double) -> Double { sigma / (shift - (shift - 1) * sigma) }
    func shifted(_ u: Double) -> Double { shift * u / (1 + (shift - 1) * u) }
    let ends = (timesteps.map { $0 / 1000 } + [0]).map(unshifted)
    return zip(ends, ends.dropFirst()).map { from, to in
      let count = max(1, Int((Double(solverSteps) * (from - to)).rounded()))
      return (0...count).map { shifted(from + (to - from) * Double($0) / Double(count)) }
    }
  }

  /// The guided flow at a noise level.
  private func predict(_ x: Tensor, _ sigma: Double, _ conditions: Conditions) -> Tensor {
    let timestep = Tensor([Float(sigma * 1000)], device: x.device).unsqueeze(0).expand(x.size(0), 1)
    return guidance.combine(
      guidance.branches(conditions, negativeText: negativeText) {
        teacher.flow(x, timesteps: timestep, $0, mask: mask)
      })
  }
}
