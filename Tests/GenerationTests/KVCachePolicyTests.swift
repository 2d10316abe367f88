import Testing

@testable import Generation

@Suite struct KVCachePolicyTests {
  @Test(arguments: [
    KVCachePolicy.full, .rolling(window: 6), .anchorHeavy(sinks: 9, window: 15), .anchorHeavy(sinks: 0, window: 4),
  ])
  func `what a policy writes is read as itself`(policy: KVCachePolicy) {
    #expect(KVCachePolicy(policy.description) == policy)
  }

  @Test(arguments: [
    "", "full:", "full:3", ":full", "rolling", "rolling:", "rolling:x", "rolling:5/x", "rolling:5/6", "rolling:5/",
    "anchor:9", "anchor:9/15/3", "anchor:9/x/15", "anchor:/15", "anchor:9//15", "sinks:9/15", "FULL", "rolling:5:6",
  ])
  func `anything else is not a policy`(text: String) {
    #expect(KVCachePolicy(text) == nil)
  }

  @Test func `a window must hold the sinks and a block`() {
    #expect(KVCachePolicy.livetalk.problem(framesPerBlock: 3) == nil)
    #expect(KVCachePolicy.livetalk.problem(framesPerBlock: 6) == nil)
    #expect(KVCachePolicy.livetalk.problem(framesPerBlock: 7)?.contains("15") == true)
    #expect(KVCachePolicy.rolling(window: 2).problem(framesPerBlock: 3) != nil)
    #expect(KVCachePolicy.anchorHeavy(sinks: -1, window: 9).problem(framesPerBlock: 3) != nil)
    #expect(KVCachePolicy.full.problem(framesPerBlock: 100) == nil)
  }
}
