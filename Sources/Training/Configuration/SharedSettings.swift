package import NN

/// Optimizer, gradient clipping and learning rate schedule.
package struct OptimizerSettings: CheckedSettings {
  package enum Algorithm: String, ConfigurationChoice {
    case adamw
    /// Muon for matrices, AdamW for the rest; single process only.
    case muon
  }

  package var algorithm = Algorithm.adamw
  /// Of Muon.
  package var momentum = 0.95
  /// The peak learning rate.
  package var learningRate = 1e-4
  /// Of AdamW: the decay of the first and of the second moment.
  package var betas = [0.9, 0.999]
  /// Of AdamW.
  package var epsilon = 1e-8
  /// Decoupled, as in AdamW.
  package var weightDecay = 0.01
  /// Maximum global gradient norm; 0 for no clipping.
  package var clip = 1.0
  /// Steps of linear warm-up.
  package var warmupSteps = 0
  /// How the learning rate decays to zero, which it reaches at the last step of the run.
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

  package var adamW: AdamW {
    AdamW(beta1: betas[0], beta2: betas[1], weightDecay: weightDecay, epsilon: epsilon)
  }

  package var muon: Muon? { algorithm == .muon ? Muon(momentum: momentum) : nil }

  /// Nil for no clipping.
  package var clippingLimit: Double? { clip > 0 ? clip : nil }

  package func schedule(totalSteps: Int) -> LearningRateSchedule {
    LearningRateSchedule(peak: learningRate, warmUpSteps: warmupSteps, decay: decay, totalSteps: totalSteps)
  }
}

extension LearningRateSchedule.Decay: ConfigurationChoice {}

/// The exponential moving average (EMA) of the weights, which is what a run exports.
package struct EMASettings: CheckedSettings {
  /// Per update of the weights; 0 for no EMA.
  package var decay = 0.99
  /// The step at which the EMA starts as a copy of the weights.
  package var startStep = 200

  package init(decay: Double = 0.99, startStep: Int = 200) { (self.decay, self.startStep) = (decay, startStep) }

  package func check(_ check: inout ConfigurationCheck) {
    check.inside(0..<1, "decay", decay)
    check.notNegative("startStep", startStep)
  }

  /// Nil for no EMA.
  package var averaging: MovingAverage? { decay > 0 ? MovingAverage(weight: decay, start: startStep) : nil }
}

/// Intervals in steps; 0 for never.
package struct ReportSettings: CheckedSettings {
  /// Metrics.
  package var logEvery = 10
  /// Sample videos.
  package var sampleEvery = 500
  /// Checkpoints; the last step always has one.
  package var checkpointEvery = 500
  /// How many of the newest checkpoints are kept; 0 for all.
  package var keepCheckpoints = 3

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.notNegative("logEvery", logEvery)
    check.notNegative("sampleEvery", sampleEvery)
    check.notNegative("checkpointEvery", checkpointEvery)
    check.notNegative("keepCheckpoints", keepCheckpoints)
  }
}
