import Foundation
import NN
import Testing

@Suite struct LearningRateScheduleTests {
  @Test func `the warm-up rises in equal steps to the peak`() {
    let schedule = LearningRateSchedule(peak: 8, warmUpSteps: 4)
    #expect((0..<6).map(schedule.rate) == [2, 4, 6, 8, 8, 8])
    #expect(LearningRateSchedule(peak: 3).rate(at: 0) == 3)
  }

  @Test func `a linear decay ends at its floor and stays`() {
    let schedule = LearningRateSchedule(peak: 10, warmUpSteps: 2, decay: .linear, totalSteps: 6, floor: 0.2)
    for (step, rate) in [(0, 5.0), (1, 10), (2, 10), (3, 8), (4, 6), (5, 4), (6, 2), (100, 2)] {
      #expect(abs(schedule.rate(at: step) - rate) < 1e-12)
    }
  }

  @Test func `a cosine decay is half way down in the middle`() {
    let schedule = LearningRateSchedule(peak: 2, warmUpSteps: 10, decay: .cosine, totalSteps: 30, floor: 0.5)
    for (step, rate) in [(10, 2.0), (15, 1.5 + cos(.pi / 4) / 2), (20, 1.5), (30, 1), (31, 1)] {
      #expect(abs(schedule.rate(at: step) - rate) < 1e-12)
    }
  }

  @Test func `a decay without steps is at its floor`() {
    #expect(LearningRateSchedule(peak: 2, warmUpSteps: 5, decay: .linear, totalSteps: 5).rate(at: 5) == 0)
  }
}
