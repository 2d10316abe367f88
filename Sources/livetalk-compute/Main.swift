import ArgumentParser

@main
struct LiveTalk: ParsableCommand {
  mutating func run() {}
}
