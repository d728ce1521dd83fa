import { NativeEngine } from "../../src/engine/native/native-engine.ts";
import { describeEngine } from "./engine.conformance.ts";

describeEngine("native", (options) => new NativeEngine(options));
