import Basics

/// Goldens of training, by the name that each case states.
enum DistillCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let c = try DistillCase(golden, recorder)
    switch golden.name {
    case "timestep_sampling": try ObjectiveCases.timestepSampling(c)
    case "dmd_kl_grad": try ObjectiveCases.klGradient(c)
    case "flow_matching", "flow_matching_causal": try ObjectiveCases.flowMatching(c)
    case "ode_regression": try ObjectiveCases.odeRegression(c)
    case "self_forcing_rollout", "self_forcing_rollout_long": try RolloutCases.rollout(c)
    case "dmd_generator": try RolloutCases.generator(c)
    case "dmd_critic": try RolloutCases.critic(c)
    case "history_corrupt": try RolloutCases.historyCorruption(c)
    case "blockwise_accumulation": try RolloutCases.blockwise(c, recorder)
    case "dmd_step": try StepCases.run(c)
    default: throw LiveTalkError("there is no training case '\(golden.name)'")
    }
  }
}
