import Generation
import Testing
import Torch

@Suite struct FlowMatchingScheduleTests {
  @Test func `the steps of LiveTalk are 1000, 937.5, 833 and 625`() {
    let schedule = FlowMatchingSchedule.livetalk()
    for (actual, expected) in zip(schedule.timesteps.array(Double.self), [1000, 937.5, 2500 / 3.0, 625]) {
      #expect(abs(actual - expected) < 1e-4)
    }
    #expect(schedule.steps(.float32).map(\.sigma).map { ($0 * 1e4).rounded() } == [10000, 9375, 8333, 6250])
  }

  @Test func `in bf16 the model is told 1000, 936, 832 and 624`() {
    let steps = FlowMatchingSchedule.livetalk().steps(.bfloat16)
    #expect(steps.map(\.timestep.item) == [1000, 936, 832, 624])
    #expect(steps.allSatisfy { $0.timestep.shape == [1, 1] && $0.timestep.dtype == .bfloat16 })
    #expect(abs(steps[1].sigma - 0.9375) < 1e-6)
  }

  @Test func `noising, flows and x0 undo each other`() {
    let schedule = FlowMatchingSchedule(shift: 5, steps: 1000)
    let generator = RandomGenerator(seed: 1)
    let (x0, noise) = (generator.normal([3, 4]), generator.normal([3, 4]))
    let timesteps = Tensor([990.4, 512, 3] as [Float])
    let xt = schedule.addNoise(x0, noise, timesteps: timesteps)
    #expect(schedule.x0(flow: noise - x0, xt: xt, timesteps: timesteps).maxAbsDifference(x0) < 1e-5)
    #expect(schedule.flow(x0: x0, xt: xt, timesteps: timesteps).maxAbsDifference(noise - x0) < 1e-3)
  }

  @Test func `a timestep stands for the nearest entry, the first one on ties`() {
    let schedule = FlowMatchingSchedule(shift: 1, steps: 4)  // 1000, 750, 500, 250
    let asked = Tensor([1000, 876, 875, 874, 0] as [Float])
    #expect(schedule.indices(of: asked).array(Int.self) == [0, 0, 0, 1, 3])
  }

  @Test func `Euler steps along the true flow end at x0`() {
    let schedule = FlowMatchingSchedule.livetalk()
    let generator = RandomGenerator(seed: 2)
    let (x0, noise) = (generator.normal([1, 8]), generator.normal([1, 8]))
    var x = noise
    for index in 0..<schedule.count {
      x = schedule.step(flow: noise - x0, xt: x, timesteps: schedule.timesteps.narrow(0, index, 1))
    }
    #expect(x.maxAbsDifference(x0) < 1e-5)
  }
}
