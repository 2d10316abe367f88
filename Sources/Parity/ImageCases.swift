import Basics
import FoundationEssentials
import Generation
import Torch

/// Goldens of the picture's way to the VAE's input: choice of size, scaling, cropping.
enum ImageCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    for (index, match) in golden.json["match_size"].list.enumerated() {
      let picture = ReferencePicture.Size(height: try match["h"].int(), width: try match["w"].int())
      let selected = ReferencePicture.size(of: try sizes(match["sizes"]), closestTo: picture)
      recorder.expect("match_size[\(index)]", selected == (try size(match["selected"])))
    }
    guard let media = golden.media else { return }
    let outputs = try golden.outputs()
    let choices = try sizes(golden.config["image_sizes_\(try golden.config["max_hw"].int())"])
    for image in golden.config["images"].list {
      let name = try image["name"].string()
      let pixels = try media.picture(golden.directory.appendingPathComponent(try image["file"].string()))
      let target = ReferencePicture.size(
        of: choices, closestTo: ReferencePicture.Size(height: pixels.height, width: pixels.width))
      guard let target, target == (try size(image["selected_size"])) else {
        throw LiveTalkError("'\(name)' gets the wrong size")
      }
      let scaled = ReferencePicture.scaled(ReferencePicture.tensor(pixels), toCover: target)
      try recorder.compare("\(name).resized", scaled, outputs["\(name).resized"], golden.tolerance())
      let prepared = ReferencePicture.prepared(pixels, target)
      try recorder.compare("\(name).image", prepared, outputs["\(name).image"], golden.tolerance())
    }
  }

  private static func size(_ json: JSON) throws -> ReferencePicture.Size {
    let numbers = try json.ints()
    guard numbers.count == 2 else { throw LiveTalkError("a size has \(numbers.count) numbers") }
    return ReferencePicture.Size(height: numbers[0], width: numbers[1])
  }

  private static func sizes(_ json: JSON) throws -> [ReferencePicture.Size] { try json.list.map(size) }
}
