// The load generator. Everything that it does is bounded in time and count, and goes nowhere but to this machine.
//
//   load established --to 127.0.0.1 --port P --flows FILE [--rate 50] [--milliseconds 5000] [--set-up-seconds 10] ...
//   load first-packets --to 127.0.0.1 --port P --flows FILE [--first 0] [--count N] --rate R | --under-way 256
//   load random|forged|replay|unclassified --to 127.0.0.1 --port P --sources 127.0.0.0/8 [--rate N] [--seconds 5] ...
//   load spoof --to 127.0.0.1 --port P < LINES
#include <string>

#include "established.h"
#include "first_packets.h"
#include "flood.h"
#include "options.h"

int main(int argc, char** argv) {
  using namespace earshot::load;
  const std::string mode = argc > 1 ? argv[1] : "";
  Options options(argc, argv, 2);
  if (mode == "established") {
    established(options);
  } else if (mode == "first-packets") {
    first_packets(options);
  } else if (mode == "spoof") {
    spoof(options);
  } else if (mode == "random" || mode == "forged" || mode == "replay" || mode == "unclassified") {
    flood(mode, options);
  } else {
    fail("expected established, first-packets, random, forged, replay, unclassified or spoof, got " + mode);
  }
  return 0;
}
