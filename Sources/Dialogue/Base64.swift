import Foundation

extension Collection<UInt8> {
  var base64: String { Data(self).base64EncodedString() }
}
