// A process of a scenario: takes steps from the one who started it, and answers.
import { createInterface } from 'node:readline';
import './effects.mjs';
import './verbs.mjs';
import { World } from './world.mjs';

const world = new World(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) console.log(await world.answer(line));
