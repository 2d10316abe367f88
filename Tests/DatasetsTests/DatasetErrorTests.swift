import Datasets
import Testing

@Suite struct DatasetErrorTests {
  @Test func `An error says its sentence`() {
    #expect("\(DatasetError("No clip."))" == "No clip.")
    #expect(DatasetError("No clip.").localizedDescription == "No clip.")
  }
}
