import { render } from 'preact';
import { App } from './app.js';
import { Playground } from './world.js';
import './style.css';

const playground = new Playground();
const root = document.getElementById('root')!;
root.textContent = '';
const draw = () => render(<App playground={playground} />, root);
playground.listen(draw);
draw();
void playground.start();
