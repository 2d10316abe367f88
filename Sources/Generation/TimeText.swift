import Foundation

/// A length of time: "0:07", "1:02:30".
package func timeText(_ seconds: Double) -> String {
  let whole = Int(max(0, min(seconds, 1e9)).rounded())
  let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
  return hours > 0 ? String(format: "%d:%02d:%02d", hours, minutes, rest) : String(format: "%d:%02d", minutes, rest)
}
