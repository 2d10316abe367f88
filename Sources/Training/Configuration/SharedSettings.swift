import NN

/// How an optimiser moves the weights.
package struct OptimizerSettings: CheckedSettings {
  package enum Algorithm: String, ConfigurationChoice {
    case adamw
    /// Muon for matrices, AdamW for the rest; on one process.
    case muon
  }

  package var algorithm = Algorithm.adamw
  /// Muon's momentum.
  package var momentum = 0.95
  /// The step of each weight at the end of the warm-up.
  package var learningRate = 1e-4
  /// How much of the averages of the gradient and of its square lasts to the next step.
  package var betas = [0.9, 0.999]
  /// What is added to the root of the average square.
  package var epsilon = 1e-8
  /// Share of itself, times the learning rate, that each step takes off a weight.
  package var weightDecay = 0.01
  /// The longest that the gradient of all weights together may be; 0 for any length.
  package var clip = 1.0
  /// Steps over which the learning rate grows to its value.
  package var warmupSteps = 0
  /// The course to zero, which is reached with the last step of the run.
  package var decay = LearningRateSchedule.Decay.none

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.positive("learningRate", learningRate)
    check.inside(0..<1, "momentum", momentum)
    let areBetas = betas.count == 2 && betas.allSatisfy { (0..<1).contains($0) }
    check.require(areBetas, "betas", betas, mustBe: "two numbers from 0 to below 1")
    check.positive("epsilon", epsilon)
    check.notNegative("weightDecay", weightDecay)
    check.notNegative("clip", clip)
    check.notNegative("warmupSteps", warmupSteps)
  }

  /// The same for the optimiser itself.
  package var adamW: AdamW {
    AdamW(beta1: betas[0], beta2: betas[1], weightDecay: weightDecay, epsilon: epsilon)
  }

  package var muon: Muon? { algorithm == .muon ? Muon(momentum: momentum) : nil }

  /// What the gradient is clipped to, or nil.
  package var clippingLimit: Double? { clip > 0 ? clip : nil }

  /// The learning rate of each step of a run.
  package func schedule(totalSteps: Int) -> LearningRateSchedule {
    LearningRateSchedule(peak: learningRate, warmUpSteps: warmupSteps, decay: decay, totalSteps: totalSteps)
  }
}

extension LearningRateSchedule.Decay: ConfigurationChoice {}

/// The moving average of the weights, which is what is served.
package struct EMASettings: CheckedSettings {
  /// Share of the average that lasts to the next step; 0 for no averaging.
  package var decay = 0.99
  /// The step at which the average starts, as a copy of the weights.
  package var startStep = 200

  package init(decay: Double = 0.99, startStep: Int = 200) { (self.decay, self.startStep) = (decay, startStep) }

  package func check(_ check: inout ConfigurationCheck) {
    check.inside(0..<1, "decay", decay)
    check.notNegative("startStep", startStep)
  }

  /// The same for the optimiser, or nil for no averaging.
  package var averaging: MovingAverage? { decay > 0 ? MovingAverage(weight: decay, start: startStep) : nil }
}

/// What a run leaves behind, and how often. 0 for never.
package struct ReportSettings: CheckedSettings {
  /// Steps from one line of metrics to the next.
  package var logEvery = 10
  /// Steps from one sample video to the next.
  package var sampleEvery = 500
  /// Steps from one checkpoint to the next; there is one at the end in any case.
  package var checkpointEvery = 500
  /// How many of the last checkpoints stay; 0 for all.
  package var keepCheckpoints = 3

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.notNegative("logEvery", logEvery)
    check.notNegative("sampleEvery", sampleEvery)
    check.notNegative("checkpointEvery", checkpointEvery)
    check.notNegative("keepCheckpoints", keepCheckpoints)
  }
}
