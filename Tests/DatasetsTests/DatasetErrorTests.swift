import Basics
import Datasets
import Foundation
import Generation
import Testing

@Suite struct DatasetErrorTests {
  @Test func `An error says its sentence`() {
    #expect("\(LiveTalkError("No clip."))" == "No clip.")
    #expect(LiveTalkError("No clip.").localizedDescription == "No clip.")
  }
}
