"""Pairs of answers, written by hand: `reference | prediction`, one per line; a long one goes on in the next,
indented.

MISSED ones are equivalent and refused, MISTAKEN ones different and accepted: the known errors."""

EQUIVALENT = r"""
\frac{1}{2} | 0.5
\frac{1}{2} | 1/2
\frac12 | \dfrac{1}{2}
\frac12 | \tfrac{2}{4}
\frac{1}{2} | .5
\frac 35 | \frac{3}{5}
\frac{1}2 | 0.50
-\frac{1}{2} | \frac{-1}{2}
-\frac{1}{2} | \frac{1}{-2}
-\frac{3}{4} | -0.75
\frac{7}{2} | 3.5
\frac{7}{2} | 3\frac{1}{2}
\frac{7}{2} | 3 1/2
\frac{7}{2} | 7/2
58\frac{1}{2} | 58.5
58\frac{1}{2} | \frac{117}{2}
10\frac{1}{12} | 121/12
-2\frac{1}{3} | -\frac{7}{3}
10000 | 10,000
10000 | 10{,}000
10000 | 10\,000
10000 | 10,\!000
10000 | 10\!000
10,\!080 | 10080
1,\!296,\!540 | 1296540
1,296,540 | 1,\!296,\!540
\$23{,}000 | 23000
\$23{,}000 | \$23,000
\$23{,}000 | $23,000$
\$5.50 | 5.50
\$5.50 | 5.5
\$5.50 | \$5.50 \text{ dollars}
\$ 1.06 | 1.06
\$32,\!348 | 32348
18\% | 18
18\% | 18 \%
18\% | 0.18
18\% | 18 percent
18\% | \frac{18}{100}
50\% | \frac{1}{2}
0.5 | 50\%
33\frac{1}{3}\% | 33.\overline{3}\%
33\frac{1}{3} | \frac{100}{3}
60^\circ | 60
60^\circ | 60^{\circ}
60^\circ | 60°
60^\circ | 60 degrees
60^\circ | 60\text{ degrees}
60^\circ | 60 \degree
140\text{ degrees} | 140
122.5^\circ | 122.5
(\frac{45}{2})^\circ | 22.5
45^\circ, 135^\circ | 135^\circ, 45^\circ
45^\circ, 135^\circ | 45, 135
7 \text{ days} | 7
7 \text{ days} | 7 days
7 | 7 \text{ days}
147\text{ cm} | 147 cm
147\text{ cm} | 147 \text{ centimeters}
428\text{ square centimeters} | 428
428\text{ square centimeters} | 428 \text{ cm}^2
428\text{ square centimeters} | 428\ \mathrm{cm}^2
32\text{ square cm} | 32\text{ cm}^{2}
240\text{ ways.} | 240
320000 \mbox{ acres} | 320,000
0.4\mbox{ miles} | \frac{2}{5}
2 \text{ euros} | 2
\dfrac{5}{2\pi}\text{ in} | \frac{5}{2\pi}
32\text{ mph} | 32
180\text{ miles} | 180 \text{ mi}
10\text{ m/s} | 10
12\text{ ft}^3 | 12
20\text{ square units} | 20
5 \text{ inches} | 5\text{ in.}
\sqrt{2} | \sqrt2
\sqrt{2} | \sqrt 2
\sqrt{2} | sqrt(2)
\sqrt{2} | 2^{1/2}
\sqrt{2} | 2^{\frac{1}{2}}
\sqrt{12} | 2\sqrt{3}
\frac{\sqrt{2}}{2} | \frac{1}{\sqrt{2}}
-\frac{1}{\sqrt{2}} | -\frac{\sqrt2}{2}
6\sqrt{3} | 6 \cdot \sqrt{3}
6\sqrt{3} | \sqrt{108}
6\sqrt{3} | 6\times\sqrt{3}
6\sqrt{3} | 6*sqrt(3)
\frac{\sqrt7}{3} | \sqrt{7}/3
\sqrt[3]{8} | 2
\sqrt[3]{16} | 2\sqrt[3]{2}
\frac{1+\sqrt{5}}{2} | \frac{\sqrt{5}+1}{2}
\frac{1+\sqrt{5}}{2} | \frac12 + \frac{\sqrt5}{2}
\frac{1+\sqrt{5}}{2} | (1+\sqrt{5})/2
3\sqrt3 - \pi | -\pi + 3\sqrt{3}
16\pi | 16 \pi
16\pi | \pi \cdot 16
16\pi | 16π
16\pi | 16*pi
\frac{35}{2} \pi | \frac{35\pi}{2}
\frac{35}{2} \pi | 17.5\pi
\frac{5}{3}\pi - 2\sqrt{3} | \frac{5\pi}{3}-2\sqrt3
\frac{5}{3}\pi - 2\sqrt{3} | \frac{5\pi - 6\sqrt{3}}{3}
-\frac{\pi}{6} | -\pi/6
\pi | {\pi}
2^{10} | 1024
2^{27} - 2^{11} | 2^{11}(2^{16}-1)
10^{164} | 10^{164}
2^{4181} | 2^{4181}
5! | 120
\binom{5}{2} | 10
1.2\times10^3 | 1200
1.2\times10^3 | 1.2 \cdot 10^{3}
1.2\times10^3 | 1.2e3
3\times10^{-4} | 0.0003
(1993)^2 | 1993^2
x^2+1 | 1+x^2
x^2 + 2x + 1 | (x+1)^2
x^2-5x-24 | (x-8)(x+3)
(t-7)(t+7) | t^2-49
(t-7)(t+7) | (t+7)(t-7)
-(ab + ac + bc) | -ab-bc-ca
4a^3 + a^2 | a^2(4a+1)
30w+12 | 12+30w
30w+12 | 6(5w+2)
\frac{1}{4m} | \frac{1}{4} m^{-1}
\frac{x+1}{x-1} | 1+\frac{2}{x-1}
\frac{bx}{h}(h-x) | \frac{bx(h-x)}{h}
2 \sin 5x \cos x | 2\cos x\sin 5x
2 \sin 5x \cos x | 2\sin(5x)\cos(x)
\sin^2 y | (\sin y)^2
\sin^2 y | 1-\cos^2 y
2 \sec x | \frac{2}{\cos x}
\frac{1}{x - 1} | (x-1)^{-1}
\frac{100(M-N)}{N} | 100\frac{M-N}{N}
13a^2(a+7) | 13a^3+91a^2
p - q | -q+p
xy | yx
\sqrt{x^2+y^2+z^2} | \sqrt{z^2+y^2+x^2}
8+4i | 4i+8
-\frac{1}{13} - \frac{5}{13}i | \frac{-1-5i}{13}
-\frac34i | -\frac{3i}{4}
\sqrt{3} - 5i | -5i+\sqrt3
-1 + i | i-1
i \sqrt{3}, -i \sqrt{3} | -\sqrt{3}i, \sqrt{3}i
i \sqrt{3}, -i \sqrt{3} | \pm i\sqrt{3}
4 + i, 4 - i | 4 \pm i
(20,100) | (20, 100)
(20,100) | \left(20,100\right)
(20,100) | ( 20 , 100 )
\left(\frac{20}{3},0\right) | (20/3, 0)
(4,1) | x=4, y=1
\left( -\frac{3}{5}, -\frac{4}{5} \right) | (-0.6,-0.8)
\left( 4, \frac{4 \pi}{3}, -1 \right) | (4,4\pi/3,-1)
(8\sqrt3, 14, 2, 4) | (8\sqrt{3},14,2,4)
(6,235^\circ) | (6,235)
(3,-2) | \langle 3, -2\rangle
(1,2) | 1,2
[-2,2] | \left[-2,2\right]
[-2,2] | x \in [-2,2]
[-2,2] | -2 \le x \le 2
[-2,2] | -2 \leq x \leq 2
[-2,2] | 2 \geq x \geq -2
[2,\infty) | x \ge 2
[2,\infty) | x\geq2
[2,\infty) | [2, +\infty)
[2,\infty) | [2, ∞)
[2,\infty) | 2 \le x
(-\infty,-8]\cup [8,\infty) | [8,\infty)\cup(-\infty,-8]
(-\infty,-8]\cup [8,\infty) | x \le -8 \text{ or } x \ge 8
(-\infty,-8]\cup [8,\infty) | x\in(-\infty,-8]\cup[8,\infty)
(-\infty,\infty) | \mathbb{R}
(-\infty,\infty) | (-\infty, +\infty)
(-\infty,\infty) | \text{all real numbers}
(-1,0] | -1 < x \le 0
(-1,0] | -1<x\leq0
-80\leq g(x)\leq 82 | [-80,82]
-80\leq g(x)\leq 82 | -80 \le g(x) \le 82
(0,5) \cup (5,\infty) | (0,5)\cup(5,+\infty)
\left[-3,-\frac{4}{3}\right) | [-3, -4/3)
(0, 3] \cup [\tfrac72, \infty) | (0,3]\cup[3.5,\infty)
0,1 | 1,0
0,1 | 0, 1
0,1 | \{0,1\}
0,1 | \{0, 1\}
0,1 | 0 \text{ and } 1
0,1 | 0 and 1
0,1 | 0 \text{ or } 1
0,1 | x=0,1
0,1 | x = 0 \text{ or } x = 1
0,1 | x=0, x=1
3,-3 | \pm 3
3,-3 | -3, 3
\pm 3 | 3, -3
\pm3 | \pm 3
-1,3,3 | 3, -1, 3
1, 1, -2, -\frac{1}{2} | -2, -\frac12, 1, 1
-1, \; -5 | -5,-1
5,\,-11 | -11, 5
0, 1, 2, 4 | 0,1,2,4
\{1,2,3\} | \{3,2,1\}
\frac {\pm \sqrt {2}}{2} | \pm\frac{\sqrt2}{2}
\frac{1\pm\sqrt{5}}{2} | \frac{1+\sqrt5}{2}, \frac{1-\sqrt5}{2}
x=5 | 5
5 | x=5
5 | x = 5
r=6.2 | 6.2
n = 255 | 255
K=8 | 8
x = \frac{3}{2} | 1.5
k=6 | k = 6
y = 2x+3 | 2x+3
y = 2x+3 | y=3+2x
y = 2x+3 | y-2x-3=0
5x - 11y + z - 17 = 0 | 5x-11y+z=17
5x - 11y + z - 17 = 0 | -5x+11y-z+17=0
5x - 11y + z - 17 = 0 | 10x-22y+2z-34=0
x-4y+13=0 | x - 4y = -13
f(x)=x^2 | x^2
x^2+1 | f(x) = x^2+1
49x^2 - 42xy + 9y^2 - 222x - 54y + 603 = 0 | 603+49x^2-42xy+9y^2-222x-54y=0
\begin{pmatrix} 7 \\ 5 \end{pmatrix} | \begin{pmatrix}7\\5\end{pmatrix}
\begin{pmatrix} 7 \\ 5 \end{pmatrix} | \begin{bmatrix} 7 \\ 5 \end{bmatrix}
\begin{pmatrix} 7/17 & -3/17 \\ 1/17 & 2/17 \end{pmatrix} |
    \begin{pmatrix} \frac{7}{17} & -\frac{3}{17} \\ \frac{1}{17} & \frac{2}{17} \end{pmatrix}
\begin{pmatrix} 5/13 & 12/13 \\ 12/13 & -5/13 \end{pmatrix} |
    \left[\begin{matrix} \frac{5}{13} & \frac{12}{13} \\ \frac{12}{13} & -\frac{5}{13} \end{matrix}\right]
\begin{pmatrix} 2 & 1 \\ 7 & -2 \end{pmatrix} | \left(\begin{array}{cc} 2 & 1 \\ 7 & -2 \end{array}\right)
\begin{pmatrix} 1 & -1 \\ 1 & \phantom -1 \end{pmatrix} | \begin{pmatrix} 1 & -1 \\ 1 & 1 \end{pmatrix}
\begin{pmatrix} \sqrt{2}/2 \\ 0 \end{pmatrix} | \begin{pmatrix} \frac{1}{\sqrt2} \\ 0 \end{pmatrix}
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} | \begin{pmatrix} -1 & -5 \\[2pt] 1 & 4 \\ \end{pmatrix}
110001_2 | 110001_{2}
110001_2 | 110001
1323_{4} | 1323_4
2215_6 | 2215_{6}
2215_6 | 2215_{\text{six}}
4D_{16} | 4D_{16}
\text{even} | even
\text{even} | Even
\text{even} | \textbf{even}
\text{two lines} | two lines
\text{October 30} | October 30
\text{Monday} | Monday
\text{Monday} | monday
\text{Monday} | \mathrm{Monday}
\text{Monday} | \text{ Monday }
\text{No} | No
\text{Yes} | \textbf{yes}
\text{orange} | \text{Orange}
\text{Cassie, Hannah, Bridget} | Cassie, Hannah, Bridget
\text{neither} | neither
\text{(A)} | A
\text{(A)} | (A)
\text{(A)} | \textbf{(A)}
\text{(A)} | \text{A}
\text{(A)} | \mathrm{(A)}
\text{(E)}, | E
\text{(E)}, | (E)
C | \text{(C)}
C | (C)
\text{A,B,C,D} | A,B,C,D
\text{A,B,C,D} | A, B, C, D
\text{B,E} | B, E
\text{in one point on the y-axis} | in one point on the y-axis
\text{None of these} | none of these
\text{ 1022} | 1022
{-}13.5 | -13.5
9:16 | 9 : 16
1:4 | 1 : 4
9:24 | 9\!:\!24
05\!:\!00 | 05:00
9:24 \text{ a.m.} | 9:24
a+b | b+a
n | n
2D | 2D
\infty | \infty
\infty | ∞
\infty | +\infty
\emptyset | \varnothing
\emptyset | \{\}
\text{no solution} | \emptyset
.039 | 0.039
82.50 | 82.5
001 | 1
0 | -0
22.21 | 22.210
2.5 | \frac{5}{2}
-1.25 | -\frac{5}{4}
-1.25 | -1\frac14
\log_2 3 | \frac{\ln 3}{\ln 2}
\log_2 8 | 3
e^2 | e^{2}
\ln 2 | \ln(2)
\sin 30 | \sin(30)
\cos x | \cos(x)
|x-1| | \left|x-1\right|
\lfloor 3.7 \rfloor | 3
72 | 72.
72 | **72**
72 | $72$
72 | \boxed{72}
72 | 72.0
72 | 72.00
72 | \text{72}
72 | The answer is 72
1 + 2 | 3
6 + \sqrt{5} | \sqrt{5} + 6
22 \sqrt{11} - 57 | -57+22\sqrt{11}
x \leq y | y \geq x
x \leq y | x\le y
x > 3 | (3,\infty)
x > 3 | 3 < x
\frac {1}{x^2} = \frac {1}{a^2} + \frac {1}{b^2} | \frac{1}{a^2}+\frac{1}{b^2}=\frac{1}{x^2}
\frac19 | 1/9
\frac1b | \frac{1}{b}
0.\overline{3} | \frac{1}{3}
0.\overline{42} | \frac{14}{33}
\frac{3992004}{3988009} | 3992004/3988009
1,000,000 | 10^6
y=x^2 | x^2=y
a=3, b=4 | b=4, a=3
12\text{ and }15 | 12, 15
-\sqrt{5}, \sqrt{5} | \pm\sqrt5
\arctan\frac12 | \tan^{-1}\frac12
\frac{\pi}{4} | 0.25\pi
120^\circ | 120 \text{ degrees}
3:2 | 3 : 2
90\text{ square feet} | 90 \text{ ft}^2
1.5\text{ hours} | 1.5 hours
100\text{ dollars} | \$100
\dfrac{1}{2a} | \frac{1}{2a}
7,14,21 | 21, 14, 7
(1,2),(3,4) | (3,4),(1,2)
(1,2),(3,4) | (1,2) \text{ and } (3,4)
(1,2),(3,4) | \{(1,2),(3,4)\}
(-1,1,0,1) | (-1, 1, 0, 1)
6.0221\times 10^{23} | 6.0221 \times 10^{23}
2^{\frac{3}{2}} | 2\sqrt{2}
4^{-1} | \frac14
\frac{2}{\sqrt{\pi}} | \frac{2\sqrt\pi}{\pi}
\text{July 4} | July 4
2+\sqrt{3} | \frac{4+2\sqrt3}{2}
\frac{3}{8} | 0.375
\frac{3}{8} | 37.5\%
\dfrac{-7}{9} | -\frac{7}{9}
2\tfrac{3}{4} | \frac{11}{4}
2\tfrac{3}{4} | 2.75
(2x-3)(x+4) | 2x^2+5x-12
\sqrt{50} | 5\sqrt2
\frac{6}{\sqrt{3}} | 2\sqrt{3}
\frac{\sqrt{6}+\sqrt{2}}{4} | \frac{\sqrt2(\sqrt3+1)}{4}
\cos 15^\circ | \frac{\sqrt{6}+\sqrt{2}}{4}
\left(\frac{1}{2}, \infty\right) | x > \frac12
(-\infty, 3) \cup (3, \infty) | x \neq 3
(-\infty, 3) \cup (3, \infty) | \mathbb{R} \setminus \{3\}
(1,4) | 1<x<4
[0,2\pi) | 0 \le \theta < 2\pi
\{-2, 5\} | -2, 5
\{-2, 5\} | x=-2 \text{ or } x=5
\{-2, 5\} | 5 \text{ and } -2
1\pm\sqrt{2} | 1+\sqrt{2}, 1-\sqrt{2}
1\pm\sqrt{2} | \{1-\sqrt2,1+\sqrt2\}
2,400 | 2400
2400 | 2{,}400
2400 | 2.4\times 10^3
2400 | 2.4 \times 10^{3}
3,000,000 | 3 \times 10^6
3{,}000{,}000 | 3000000
12\text{ cm} | 12 \; \mathrm{cm}
12\text{ cm} | 12~\text{cm}
12\text{ cm} | 12
25\pi \text{ cm}^2 | 25\pi
25\pi | 25 \pi \text{ square inches}
\$12.50 | 12.50
\$12.50 | \$12.5
\$1,250 | 1250
75\% | 0.75
75\% | \frac34
75\% | 75
y = -\frac{2}{3}x + 4 | y=4-\frac{2x}{3}
y = -\frac{2}{3}x + 4 | 2x+3y=12
y=\frac12 x - 1 | y = 0.5x - 1
x^2+y^2=25 | x^2 + y^2 - 25 = 0
(x-1)^2+(y+2)^2=9 | (y+2)^2 + (x-1)^2 = 3^2
f(x)=2x-7 | 2x - 7
a_n = 3n-2 | 3n-2
x = -4 | -4
t=\frac{3}{2} | 1.5
(x,y)=(2,-1) | (2,-1)
(x,y)=(2,-1) | x=2,\ y=-1
(2,-1) | x = 2 \text{ and } y = -1
(2,-1) | (2, -1.0)
(1,2,3) | \left( 1,2,3 \right)
\langle 1,2,3 \rangle | (1,2,3)
\begin{pmatrix}1\\2\\3\end{pmatrix} | \begin{bmatrix}1\\2\\3\end{bmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} | \begin{bmatrix} 1 & 0 \\ 0 & 1 \end{bmatrix}
\begin{pmatrix}1/2&0\\0&1\end{pmatrix} | \begin{pmatrix} 0.5 & 0 \\ 0 & 1 \end{pmatrix}
3+4i | 4i + 3
\frac{1+i}{2} | \frac12+\frac{i}{2}
e^{i\pi/3} | \frac12+\frac{\sqrt3}{2}i
2e^{i\pi/2} | 2i
\frac{1}{2}\ln 3 | \ln\sqrt{3}
\ln 8 | 3\ln 2
\log_{10} 1000 | 3
\log_4 8 | \frac{3}{2}
\frac{1}{1-x} | -\frac{1}{x-1}
\frac{x}{x+1} | 1 - \frac{1}{x+1}
\frac{x^2-1}{x-1} | x+1
n(n+1)/2 | \frac{n^2+n}{2}
\frac{n(n+1)}{2} | \binom{n+1}{2}
2^{n+1}-1 | 2\cdot 2^n - 1
a^2-b^2 | (a-b)(a+b)
6! | 720
\binom{10}{3} | 120
\frac{8!}{3!5!} | 56
\sum_{k=1}^{10} k | 55
0.1\overline{6} | \frac16
0.\overline{142857} | \frac{1}{7}
.125 | \frac{1}{8}
1011_2 | 1011_{2}
ABC_{16} | \text{ABC}_{16}
\text{(B)} | B
\text{(B)}\ 12 | B
\text{B} | (B)
B | \textbf{(B) }
\text{increasing} | increasing
\text{Yes} | yes
\text{True} | true
\text{Tuesday} | \text{tuesday}
\text{no solutions} | \text{no solution}
\text{red} | \text{ red}
\sqrt{\frac{2}{3}} | \frac{\sqrt6}{3}
\sqrt[4]{16} | 2
\sqrt[3]{-8} | -2
4^{3/2} | 8
x^{1/2} | \sqrt{x}
\frac{1}{x^2} | x^{-2}
-3\le x\le 5 | [-3,5]
x\in(-3,5] | (-3,5]
3 \text{ to } 2 | 3:2
\frac{3}{2} | 3:2
5:00 \text{ PM} | 5:00 pm
2\sqrt{5}\text{ units} | 2\sqrt5
\frac{7}{12}\text{ hours} | \frac{7}{12}
17\text{ students} | 17
17 | 17 students
1\text{ million} | 1000000
0.001 | 10^{-3}
100! | 100!
7^{100} | 7^{100}
\tan 60^\circ | \sqrt{3}
\sin\frac{\pi}{6} | \frac{1}{2}
\arcsin \frac{1}{2} | \frac{\pi}{6}
\pi/4 | \frac{\pi}{4}
k \geq 4 | [4,\infty)
[-1, 0) \cup (0, 1] | [-1,1]\setminus\{0\}
\frac{a+b}{2} | \frac{1}{2}(a+b)
4x^3y^2 | 4 y^2 x^3
-x^2+3x | x(3-x)
5,12,13 | 13, 12, 5
5,12,13 | 5, 12, \text{ and } 13
(0,0), (1,1) | (1,1), (0,0)
\frac{1}{3}\pi r^2 h | \frac{\pi r^2 h}{3}
\approx 3.14 | 3.14
15 | +15
15 | 15.
15 | fifteen
-0.5 | -.5
-\frac{1}{2} | -0.5
1/3 | \frac{1}{3}
\frac{10}{4} | 2.5
1\frac{1}{2} | 1.5
\left\{ \frac12, 3 \right\} | 3, 0.5
2 \cdot 3^4 | 162
2^3\cdot 5^2 | 200
\dfrac{\sqrt{3}}{3} | \frac{1}{\sqrt{3}}
10\text{ minutes} | 10 min
45^{\circ} | 45
\angle A = 45^\circ | 45^\circ
-1 \text{ and } 3 | -1, 3
x=2, x=-3 | \{2,-3\}
\infty | \text{infinity}
3.0 | 3
\text{A and C} | A, C
\frac{2x+4}{2} | x+2
\frac{\pi^2}{6} | \pi^2/6
1-\frac{1}{e} | \frac{e-1}{e}
\lceil 2.1 \rceil | 3
\gcd(12,18) | 6
5\% | 0.05
120\text{ cubic inches} | 120 \text{ in}^3
2,3,5 | \{2,3,5\}
(3,\frac{\pi}{2}) | (3, \pi/2)
\sqrt{x+1} | (x+1)^{1/2}
y^2=4x | 4x = y^2
\frac{1}{2}x^2 + C | \frac{x^2}{2} + C
2m | 2 m
3 h | 3h
\frac{1}{2} m | \frac{m}{2}
5 g | 5g
2x m | 2xm
12 s | 12 seconds
x m | mx
3 1/2 | 3.5
a_1 + a_2 | a_2+a_1
2 L | 2L
\pi r^2 h | \pi h r^2
\sqrt{2} m | m\sqrt{2}
\frac{5}{6} | 0.8\overline{3}
\frac{5}{6} | 5 / 6
\frac{5}{6} | \left(\frac{5}{6}\right)
-\frac{11}{4} | -2\frac{3}{4}
-\frac{11}{4} | -2.75
4\sqrt{5} | \sqrt{80}
\frac{4\sqrt{5}}{5} | \frac{4}{\sqrt{5}}
3+\sqrt{7} | \sqrt{7}+3
\sqrt{3}-1 | -1+\sqrt{3}
\frac{\sqrt{3}-1}{2} | \frac{1}{2}(\sqrt{3}-1)
\sqrt{2}+\sqrt{3} | \sqrt{5+2\sqrt{6}}
12\sqrt{2} | 12\sqrt{2} \approx 16.97
12\pi | 12 \pi \text{ cubic units}
\frac{9\pi}{2} | 4.5\pi
9-\frac{9\pi}{4} | \frac{36-9\pi}{4}
(-2,3] | -2<x\leq 3
(-2,3] | \{x : -2 < x \le 3\}
(-2,3] | \{x \mid -2 < x \leq 3\}
(-\infty,-1)\cup(2,\infty) | x<-1 \text{ or } x>2
(-\infty,-1)\cup(2,\infty) | (2,\infty) \cup (-\infty,-1)
(-\infty, 5] | x \leq 5
[0,\infty) | x\ge 0
[0,\infty) | [0, +\infty)
\{1, 4, 9\} | 1, 4, 9
\{1, 4, 9\} | \{9,4,1\}
-7, 2 | x = -7, x = 2
-7, 2 | 2 \text{ and } -7
-7, 2 | \{-7, 2\}
-7, 2 | x=-7 \text{ or } 2
\pm 4 | 4, -4
\pm 4 | x = \pm 4
\pm 4 | \{-4,4\}
2\pm 3i | 2+3i, 2-3i
(4,-1) | (x,y) = (4,-1)
(4,-1) | x=4, y=-1
(\tfrac{1}{2}, -3) | (0.5, -3)
(1,1), (-1,1) | (-1,1), (1,1)
(1,1), (-1,1) | (\pm 1, 1)
\begin{pmatrix} -1 \\ 4 \\ 2 \end{pmatrix} | (-1,4,2)
\begin{bmatrix} 2 & 0 \\ 1 & 3 \end{bmatrix} | \begin{pmatrix} 2 & 0 \\ 1 & 3 \end{pmatrix}
y = 3x - 5 | 3x - y = 5
y = 3x - 5 | y=3x-5
y=3x-5 | y = -5 + 3x
x + 2y = 8 | y = 4 - \frac{x}{2}
\frac{x^2}{9}+\frac{y^2}{4}=1 | 4x^2+9y^2=36
(x+3)(x-5) | x^2 - 2x - 15
3x^2(x-2) | 3x^3-6x^2
\frac{x+2}{x-3} | \frac{-x-2}{3-x}
(x^2+1)(x-1)(x+1) | x^4-1
2x^2 + 3x - 5 | -5+3x+2x^2
\frac{1}{x}+\frac{1}{y} | \frac{x+y}{xy}
2^{2n} | 4^n
3^{-2} | \frac19
\log_2 \frac{1}{8} | -3
\ln e^5 | 5
e^{2\ln 3} | 9
\sin \frac{\pi}{4} | \frac{\sqrt{2}}{2}
\cos 60^\circ | 0.5
\sin 75^\circ | \frac{\sqrt{6}+\sqrt{2}}{4}
\tan^{-1} 1 | \frac{\pi}{4}
\arccos 0 | \frac{\pi}{2}
5i | 0+5i
-2+2i\sqrt{3} | -2 + 2\sqrt{3}i
\frac{2-i}{5} | \frac{2}{5}-\frac{1}{5}i
1{,}234{,}567 | 1234567
1,234,567 | 1\,234\,567
45{,}000 | 4.5 \times 10^4
0.00052 | 5.2 \times 10^{-4}
2^{64} | 18446744073709551616
\$1{,}500 | 1500
\$1{,}500 | 1,500 dollars
25\% | \frac{1}{4}
25\% | 25
12.5\% | 0.125
72^\circ | 72
72^\circ | 72^{\circ}
72 | 72 degrees
6\text{ feet} | 6 ft
6\text{ feet} | 6
36\text{ square inches} | 36 \text{ in}^2
36 | 36 \text{ square feet}
55 \text{ mph} | 55 \text{ miles per hour}
4\text{ hours} | 4 hr
8\text{ apples} | 8
11 \text{ ways} | 11
\text{Saturday} | Saturday
\text{Saturday} | \textbf{Saturday}
\text{isosceles} | isosceles
\text{ellipse} | Ellipse
\text{Yes} | \text{Yes.}
\text{(D)} | D
\text{(D)} | \boxed{D}
D | \textbf{(D)}\ 14
D | \mathrm{(D)}
\textbf{(E) } 30 | E
\text{Peter} | Peter
2:5 | \frac{2}{5}
2:5 | 2 \text{ to } 5
7:30 \text{ p.m.} | 7:30 pm
212_3 | 212_{3}
1\text{A}5_{12} | 1A5_{12}
7! | 5040
\binom{8}{2} | 28
13 | x = 13
13 | 13.0
13 | \text{thirteen}
0 | 0.0
-6 | - 6
n^2+n+1 | 1+n+n^2
2n(n-1) | 2n^2-2n
a+b+c | c+b+a
\frac{a}{b+c} | a/(b+c)
\frac{ab}{2} | \frac{1}{2}ab
\sqrt{ab} | \sqrt{a}\sqrt{b}
x\sqrt{x} | x^{3/2}
\frac{4}{3}\pi r^3 | \frac{4 \pi r^3}{3}
bh/2 | \frac12 bh
p^2q | q p^2
\lambda = 3 | 3
\theta = \frac{\pi}{3} | \frac{\pi}{3}
k=2\text{ or }k=-5 | 2, -5
r = 4 | r=4\text{ cm}
A = 36\pi | 36\pi
P(x) = x^2 - 4 | x^2-4
f^{-1}(x) = \frac{x-1}{2} | \frac{x-1}{2}
\emptyset | \text{no solutions}
\text{none} | None
\text{infinitely many} | infinitely many
\text{DNE} | DNE
1-2\sin^2 x | \cos 2x
\frac{\sin x}{\cos x} | \tan x
\left|a\right| | |a|
\lfloor \pi \rfloor | 3
\text{January 5} | January 5
3\text{ quarters} | 3
-1 \le k \le 1 | [-1,1]
a \ge 2 | a \geq 2
x \le -1 \text{ or } x \ge 4 | (-\infty,-1] \cup [4,\infty)
0 < m < 4 | (0,4)
\frac{41\pi}{4} | 10.25\pi
2+2\sqrt{2}+2\sqrt{3} | 2(1+\sqrt{2}+\sqrt{3})
\tfrac{6400}{27} | 237\frac{1}{27}
40,\!320 | 8!
\left[ \frac{\pi^2}{4}, \frac{9 \pi^2}{4} \right] | [\pi^2/4, 9\pi^2/4]
\left[ \frac{\pi^2}{4}, \frac{9 \pi^2}{4} \right] | \frac{\pi^2}{4} \le y \le \frac{9\pi^2}{4}
\tfrac{4\sqrt{14}}{3} | \frac{4}{3}\sqrt{14}
\left( -1, \frac{35}{12} \right) | \left(-1, 2\frac{11}{12}\right)
\begin{pmatrix} 7 \\ -8 \end{pmatrix} | \begin{bmatrix} 7 \\ -8 \end{bmatrix}
(-9x^2+x+2)(9x^2+x+2) | -(9x^2-x-2)(9x^2+x+2)
[0,2) | 0 \leq x < 2
y = -\frac{10}{3} | -\frac{10}{3}
y = -\frac{10}{3} | y = -3\frac{1}{3}
2 \sec x | 2\sec(x)
2 \sec x | \dfrac{2}{\cos x}
\frac{\sqrt{6}}{4} | \sqrt{\frac{3}{8}}
(0,9) | 0<x<9
(0,9) | \{x \mid 0<x<9\}
-4 - 2i | -2(2+i)
48\pi-72\sqrt{3} | 24(2\pi - 3\sqrt{3})
[2,5) | \{ x \in \mathbb{R} : 2 \le x < 5 \}
2 + \sqrt{3} | \frac{1}{2-\sqrt{3}}
4x^3+4x^2 | 4x^2(x+1)
-12x -3 | -3(4x+1)
\dfrac{81}{\pi} | 81/\pi
12x - 4y + 3z - 169 = 0 | 12x-4y+3z=169
6\frac{1}{6}\text{ feet} | \frac{37}{6}\text{ ft}
2400 \mbox{ cm}^2 | 2400\, \text{cm}^{2}
2400 \mbox{ cm}^2 | 2400\text{ square centimeters}
100,\!000 | 10^5
100,\!000 | 100 000
5225 \text{ cubic inches} | 5225 \text{ in}^{3}
-x^2+19x+29 | 29 + 19x - x^2
(3, -1) | x=3,\; y=-1
(3, -1) | (x, y) = (3, -1)
\frac{35}{2} \pi | \frac{35 \pi}{2} \text{ cm}^3
8y^{11}+6y^9-2y^7 | 2y^7(4y^4+3y^2-1)
(8\sqrt3, 14, 2, 4) | (8\sqrt{3}, 14, 2, 4)
(8\sqrt3, 14, 2, 4) | k=8\sqrt{3}, l=14, m=2, n=4
\$ 54.60 | \$54.6
\$ 54.60 | 54.60 \text{ dollars}
x^6-5832 | (x^2-18)(x^4+18x^2+324)
12^{1/7} | \sqrt[7]{12}
0.4\mbox{ miles} | 0.4 mi
0.56 = 56\% | 56\%
0.56 = 56\% | 0.56
27^\circ | 27 \text{ degrees}
3 + 6 \sqrt{2} | 3(1+2\sqrt2)
1101001_2 | 1101001
\frac{5\sqrt{5}}{3} | \frac{5}{3}\sqrt{5}
10x \sqrt{21x} | 10\sqrt{21}x^{3/2}
10x \sqrt{21x} | 10\sqrt{21} x \sqrt{x}
2\sqrt{2} | \sqrt{8} \approx 2.828
(-4,-\frac{1}{2}) | -4 < x < -0.5
40\text{ feet} | 40 \, \text{ft}
7 \text{ days} | 7 \, \text{days}
203_7 | 203_{\text{seven}}
33,\!800,\!000 | 33.8 \text{ million}
2\sqrt{6} | \sqrt{24}
\frac{1}{3}, \frac{1}{8} | \frac{1}{8} \text{ and } \frac{1}{3}
\frac{1}{3}, \frac{1}{8} | x = \frac13 \text{ or } x=\frac18
\frac{1-\sqrt{2}}{2} | \frac12 - \frac{\sqrt2}{2}
( \frac 45, \frac 25 ) | (0.8, 0.4)
0.979 | \frac{979}{1000}
10\sqrt{5}-20 | 10(\sqrt{5}-2)
23:17 | \frac{23}{17}
37:1 | 37
3\sqrt3 - \pi | 3\sqrt{3}-\pi \text{ square units}
58\frac{1}{2} | 58 \frac12
\dfrac{5}{2\pi}\text{ in} | \frac{5}{2\pi} inches
115^\circ | \angle ABC = 115^\circ
1 | 100\%
32\text{ mph} | 32 miles/hour
150^\circ | 150^\circ \text{ (or } \frac{5\pi}{6} \text{ radians)}
"""

DIFFERENT = r"""
\frac{1}{2} | \frac{1}{3}
\frac{1}{2} | 2
0.5 | 0.05
0.333 | \frac{1}{3}
3.14 | \pi
\frac{22}{7} | \pi
1.414 | \sqrt{2}
10000 | 1000
10,000 | 10
1,234 | 1234.5
58\frac{1}{2} | 29
(1,2) | (2,1)
(1,2) | [1,2]
(1,2) | (1,2]
[1,2) | (1,2]
[-2,2] | (-2,2)
[-2,2] | -2 < x < 2
[2,\infty) | (2,\infty)
[2,\infty) | x > 2
[2,\infty) | x \le 2
(-\infty,-8]\cup [8,\infty) | (-\infty,-8)\cup (8,\infty)
(-\infty,-8]\cup [8,\infty) | (-\infty,-8]
(0,1) | 0
0,1 | 0
0,1 | 0,1,2
0,1 | 0,2
3,-3 | 3
\pm 3 | 3
\pm 3 | \pm 4
-1,3,3 | -1,3
\{1,2\} | \{1,3\}
\{1,2\} | (2,1)
\{1,2\} | [1,2]
x=5 | x=6
x=5 | 6
x=5 | y=6
y=2x+3 | y=3x+2
y=2x+3 | x=2y+3
5x - 11y + z - 17 = 0 | 5x-11y+z+17=0
x^2+1 | x^2-1
x^2+1 | y^2+1
x^2+1 | x^2
(x+1)^2 | x^2+1
2x | x
2x | x^2
a+b | ab
a-b | b-a
xy | x+y
n | m
n | N
C | D
\text{(C)} | B
\text{(A)} | \text{(B)}
\text{even} | odd
\text{Monday} | Tuesday
\text{October 30} | October 31
\text{October 30} | 30
\text{two lines} | two circles
\text{Yes} | No
\text{no solution} | 0
\text{Cassie, Hannah, Bridget} | Hannah, Cassie, Bridget
110001_2 | 110001_3
110001_2 | 11001_2
1010_2 | 10
2215_6 | 2215_7
\begin{pmatrix} 7 \\ 5 \end{pmatrix} | \begin{pmatrix} 5 \\ 7 \end{pmatrix}
\begin{pmatrix} 7 \\ 5 \end{pmatrix} | \begin{pmatrix} 7 & 5 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}
8+4i | 8-4i
8+4i | 4+8i
i | -i
i | 1
\sqrt{2} | \sqrt{3}
\sqrt{2} | 2
2\sqrt{3} | 3\sqrt{2}
\sqrt[3]{2} | \sqrt{2}
16\pi | 16
16\pi | 8\pi
\pi | 3.14159
-\frac{1}{2} | \frac{1}{2}
2^{10} | 2^{11}
2^{4181} | 2^{4180}
10^{164} | 10^{163}
18\% | 1.8
18\% | 0.018
\$5.50 | \$55
\$5.50 | 550
60^\circ | 30^\circ
60^\circ | 60\pi
7 \text{ days} | 8 \text{ days}
4\text{ feet} | 4\text{ inches}
10\text{ cm} | 10\text{ m}
5\text{ cm} | 5\text{ cm}^2
9:16 | 16:9
9:24 | 9:42
05:00 | 5:30
\infty | -\infty
\infty | 0
\emptyset | 0
x \leq y | x \geq y
x \leq y | x < y
x > 3 | x < 3
5! | 5
\binom{5}{2} | \binom{5}{1}
\log_2 3 | \log_3 2
\ln 2 | \log_2 e
\sin x | \cos x
\sin^2 x | \sin x^2
\frac{1}{x-1} | \frac{1}{x+1}
(3,-2) | (3,2)
(3,-2) | (-3,2)
(1,2),(3,4) | (1,3),(2,4)
(1,2),(3,4) | (1,2)
1,2,3 | 1,2
\frac{a}{b} | \frac{b}{a}
a=3, b=4 | a=4, b=3
1.2\times10^3 | 1.2\times10^4
0.12 | 0.21
-5 | 5
12 | 21
12 | 1.2
12 | 12x
12 | 12,13
7 | 7!
abc | abd
\text{B,E} | \text{B,D}
\text{ 1022} | 1023
1:4 | 4
\text{neither} | both
3\sqrt3 - \pi | 3\sqrt3 + \pi
2 \sin 5x \cos x | 2 \sin x \cos 5x
e^2 | 2e
|x-1| | x-1
\lfloor 3.7 \rfloor | 4
0.\overline{3} | 0.3
3 | three hundred
-1 | 1-
100 | 1000
\frac{3}{4} | \frac{4}{3}
2x+3y=6 | 3x+2y=6
y=x^2 | y=2x
[0,1) | [0,1]
[0,1] | \{0,1\}
(2, \frac{\pi}{3}) | (2, \frac{\pi}{6})
200 | 200, 300
\text{none of these} | \text{all of these}
A | B
6 | 9
\frac{3}{8} | 0.38
\frac{3}{8} | \frac{8}{3}
\frac{3}{8} | 3.8
\frac{1}{3} | 0.33
\frac{2}{3} | 0.667
\sqrt{2} | 1.41
\pi | 3.14
e | 2.718
2\tfrac{3}{4} | \frac{6}{4}
2\tfrac{3}{4} | 1.5
(2x-3)(x+4) | 2x^2+5x+12
\sqrt{50} | 25\sqrt{2}
\frac{3\pi}{4} | \frac{4\pi}{3}
(1,4) | 1\le x \le 4
(1,4) | [1,4)
(1,4) | \{1,4\}
(1,4) | 1.4
1,4 | 14
1,4 | 1.4
[0,2\pi) | [0,2\pi]
\{-2,5\} | \{2,-5\}
\{-2,5\} | -2
\{-2,5\} | -2,5,5,6
1\pm\sqrt{2} | 1+\sqrt{2}
1\pm\sqrt2 | 2\pm\sqrt{2}
2400 | 24000
2400 | 240
2,400 | 2.4
2400 | 2.4\times 10^2
12\text{ cm} | 12\text{ m}
12\text{ cm} | 12\text{ cm}^2
12\text{ cm} | 120
25\pi | 25
25\pi | 25\pi^2
75\% | 7.5
75\% | 0.0075
y = -\frac{2}{3}x + 4 | y=-\frac32 x+4
y=2x+1 | y=2x-1
y=2x+1 | x=2y+1
x^2+y^2=25 | x^2+y^2=5
x^2+y^2=25 | x^2-y^2=25
(x-1)^2+(y+2)^2=9 | (x+1)^2+(y-2)^2=9
f(x)=2x-7 | 2x+7
x=-4 | 4
(2,-1) | (-1,2)
(2,-1) | (2,1)
(2,-1) | 2
(2,-1) | [2,-1]
(1,2,3) | (1,3,2)
(1,2,3) | (1,2)
(1,2,3) | 1
(1,2,3) | (1,2,3,4)
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1&2\end{pmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} | \begin{pmatrix}0&1\\1&0\end{pmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} | 1
3+4i | 3-4i
3+4i | 5
3+4i | 7
2i | 2
\frac12\ln 3 | \ln 3
\ln 8 | 8\ln 2
\log_4 8 | 2
\frac{1}{1-x} | \frac{1}{x-1}
\frac{x}{x+1} | 1+\frac{1}{x+1}
n(n+1)/2 | n(n-1)/2
2^{n+1}-1 | 2^n-1
a^2-b^2 | (a-b)^2
a^2-b^2 | b^2-a^2
6! | 6
6! | 120
\binom{10}{3} | \binom{10}{4}
0.1\overline{6} | 0.16
0.\overline{12} | 0.12
1011_2 | 1011_3
1011_2 | 1101_2
\text{(B)} | \text{(C)}
B | \text{(D)}
B | 8
\text{increasing} | \text{decreasing}
\text{Yes} | \text{No}
\text{True} | \text{False}
\text{no solutions} | \text{infinitely many}
\sqrt[3]{-8} | 2
4^{3/2} | 6
x^{1/2} | x/2
-3\le x\le 5 | -3<x<5
x>3 | x\geq 3
x>3 | 3
3:2 | 2:3
3:2 | 3.2
5:00 | 17
\frac{7}{12} | \frac{12}{7}
17 | 71
17 | -17
17 | 1.7
17 | 17.5
17 | 17x
17 | 17, 18
1\text{ million} | 1
0.001 | 10^{-4}
100! | 99!
7^{100} | 7^{101}
\tan 60^\circ | \frac{\sqrt3}{3}
2\pi | 180^\circ
(-\infty,2)\cup(2,\infty) | (-\infty,\infty)
k\ge 4 | k \ge 5
4x^3y^2 | 4x^2y^3
4x^3y^2 | 4x^3+y^2
5,12,13 | 5,12
5,12,13 | 5,12,14
(0,0),(1,1) | (0,1),(0,1)
\frac13\pi r^2h | \pi r^2 h
\frac13\pi r^2h | \frac13\pi r h^2
2\cdot 3^4 | 6^4
1-\frac1e | \frac{1}{e}
\sqrt{x+1} | \sqrt{x}+1
y^2=4x | x^2=4y
\triangle ABC | \triangle ABD
\angle A | \angle B
p | q
m+n | mn
2^x | x^2
\sin 2x | 2\sin x
\sin x | \sin y
-x | x
10\% | 10.5\%
\$5 | \$6
1,2,3,4 | 1234
1/2/3 | 1/2
12:30 | 12:03
\emptyset | \{0\}
\mathbb{R} | \mathbb{Z}
\text{Alice} | \text{Bob}
\text{June} | \text{July}
\frac{1}{0} | 0
3 1/2 | 31/2
3\frac12 | 31/2
1 2 | 12
3 h | 3
2 m | 3 m
5 | 5h
\frac{5}{6} | 0.83
\frac{5}{6} | \frac{6}{5}
-\frac{11}{4} | \frac{11}{4}
4\sqrt{5} | 5\sqrt{4}
4\sqrt{5} | 8.94
12\pi | 12
12\pi | 37.7
9-\frac{9\pi}{4} | 9+\frac{9\pi}{4}
(-2,3] | [-2,3)
(-2,3] | -2\le x\le 3
(-2,3] | \{-2,3\}
(-\infty,-1)\cup(2,\infty) | (-1,2)
(-\infty,-1)\cup(2,\infty) | x<-1
(-\infty,5] | x<5
(-\infty,5] | x\ge 5
(-\infty,5] | 5
\{1,4,9\} | \{1,4\}
\{1,4,9\} | 14
-7,2 | 7,-2
-7,2 | 2
-7,2 | (−7,2]
-7,2 | -5
\pm 4 | 4
\pm 4 | -4
\pm 4 | \pm 2
2\pm 3i | 2+3i
2\pm 3i | 3\pm 2i
(4,-1) | (-1,4)
(4,-1) | (4,1)
(4,-1) | x=-1,y=4
(\tfrac12,-3) | (2,-3)
(1,1),(-1,1) | (1,1)
(1,1),(-1,1) | (1,-1),(1,1)
\begin{pmatrix} -1 \\ 4 \\ 2 \end{pmatrix} | \begin{pmatrix} -1 \\ 4 \\ -2 \end{pmatrix}
\begin{bmatrix} 2 & 0 \\ 1 & 3 \end{bmatrix} | \begin{bmatrix} 2 & 1 \\ 0 & 3 \end{bmatrix}
y=3x-5 | y=3x+5
y=3x-5 | y=-5x+3
x+2y=8 | 2x+y=8
\frac{x^2}{9}+\frac{y^2}{4}=1 | \frac{x^2}{4}+\frac{y^2}{9}=1
\frac{x^2}{9}+\frac{y^2}{4}=1 | \frac{x^2}{9}-\frac{y^2}{4}=1
(x+3)(x-5) | (x-3)(x+5)
3x^2(x-2) | 3x^3-2
\frac{x+2}{x-3} | \frac{x-3}{x+2}
x^4-1 | x^4+1
x^4-1 | (x-1)^4
\frac1x+\frac1y | \frac{1}{x+y}
2^{2n} | 2^{n}
2^{2n} | 2n^2
3^{-2} | -9
3^{-2} | 9
\log_2\frac18 | 3
\sin\frac{\pi}{4} | \frac12
\cos 60^\circ | \frac{\sqrt3}{2}
\arccos 0 | 0
5i | 5
5i | -5i
-2+2i\sqrt3 | -2-2i\sqrt3
1{,}234{,}567 | 1234576
45{,}000 | 45
45{,}000 | 4500
0.00052 | 0.0052
2^{64} | 2^{63}
\$1{,}500 | 15
\$1{,}500 | \$1{,}050
\$0.75 | 7.5
25\% | 2.5
25\% | \frac12
72^\circ | 18^\circ
72^\circ | 108^\circ
6\text{ feet} | 6\text{ inches}
6\text{ feet} | 72
36\text{ square inches} | 36\text{ inches}
55\text{ mph} | 55\text{ km/h}
\text{Saturday} | \text{Sunday}
\text{isosceles} | \text{scalene}
\text{ellipse} | \text{parabola}
\text{Yes} | \text{no}
\text{(D)} | \text{(A)}
D | \textbf{(B)}\ 14
\textbf{(E) } 30 | D
2:5 | 5:2
2:5 | 2.5
7:30 | 7:31
212_3 | 212_4
212_3 | 221_3
7! | 7
7! | 720
13 | 31
13 | 1.3
13 | 130
13 | 12.99
13 | x=31
13 | 13i
13 | 13\pi
13 | \sqrt{13}
13 | 13^2
13 | -13
13 | 13, 14
13 | (1,3)
0 | 1
0 | \emptyset
n^2+n+1 | n^2+n
n^2+n+1 | n^2-n+1
2n(n-1) | 2n(n+1)
\frac{a}{b+c} | \frac{a}{b}+c
\frac{ab}{2} | \frac{a+b}{2}
x\sqrt{x} | x^{2}
\frac43\pi r^3 | 4\pi r^2
p^2q | pq^2
\theta=\frac{\pi}{3} | \frac{\pi}{6}
k=2\text{ or }k=-5 | 2, 5
r=4 | 8
P(x)=x^2-4 | x^2+4
\emptyset | 1
\text{infinitely many} | \text{none}
1-2\sin^2x | 1-\sin^2 x
\frac{\sin x}{\cos x} | \frac{\cos x}{\sin x}
\left|a\right| | -a
\text{January 5} | \text{January 6}
-1\le k\le 1 | (-1,1)
a\ge2 | a\le 2
x\le -1\text{ or }x\ge 4 | [-1,4]
0<m<4 | (0,4]
0<m<4 | 4
0<m<4 | (4,0)
12:15 | 12.15
\frac{1}{1+x} | \frac{1}{1}+x
3x+2 | 3x-2
3x+2 | 5x
(x-2)^2 | x^2-4
\sqrt{x^2+y^2} | x+y
e^{x+y} | e^x+e^y
\ln(ab) | \ln a \ln b
\frac{41\pi}{4} | \frac{41}{4}
\tfrac{6400}{27} | 237
\left[ \frac{\pi^2}{4}, \frac{9 \pi^2}{4} \right] | \left( \frac{\pi^2}{4}, \frac{9 \pi^2}{4} \right)
\left( -1, \frac{35}{12} \right) | \left( 1, \frac{35}{12} \right)
\begin{pmatrix} 7 \\ -8 \end{pmatrix} | (-8, 7)
[0,2) | (0,2]
2\sec x | 2\cos x
2\sec x | 2\csc x
(0,9) | (9,0)
-4 - 2i | 4+2i
48\pi-72\sqrt{3} | 48\pi-72
4x^3+4x^2 | 4x^2(x-1)
\text{Sunday} | Monday
12x - 4y + 3z - 169 = 0 | 12x - 4y + 3z + 169 = 0
6\frac16\text{ feet} | 6\text{ feet}
2400 \mbox{ cm}^2 | 24 \text{ m}^2
100,\!000 | 10^6
100,\!000 | 100
5225 \text{ cubic inches} | 5225\text{ square inches}
(3,-1) | x=-1, y=3
8y^{11}+6y^9-2y^7 | 8y^{11}+6y^9+2y^7
\$ 54.60 | 54.06
12^{1/7} | 12/7
27^\circ | 63^\circ
1101001_2 | 1101001_3
\left( \frac{3}{4}, 1 \right) \cup (1, \infty) | \left( \frac{3}{4}, \infty \right)
\left( \frac{3}{4}, 1 \right) \cup (1, \infty) | x > \frac34
10x \sqrt{21x} | 10\sqrt{21x}
(-4,-\frac12) | (-4, \frac12)
40\text{ feet} | 40\text{ yards}
33,\!800,\!000 | 33.8
33,\!800,\!000 | 33.8 \text{ billion}
\frac13, \frac18 | \frac13
\frac13, \frac18 | \frac{1}{24}
23:17 | 17:23
37:1 | 1:37
10\sqrt5-20 | 2.36
3\sqrt3-\pi | 2.05
(8\sqrt3, 14, 2, 4) | (8\sqrt3, 14, 4, 2)
1 | 10
2500 | 2501
x^6-5832 | x^6+5832
|x|=3 | x=3
"""

MISSED = r"""
\frac{3\pi}{4} | 135^\circ
2\pi | 360^\circ
|x|=3 | x=\pm 3
\text{all real numbers except } 2 | (-\infty,2)\cup(2,\infty)
\left( \frac{3}{4}, 1 \right) \cup (1, \infty) | x > \frac34, x \neq 1
\mathbf{i}+2\mathbf{j} | (1,2)
50 \text{ m/s} | 50 \frac{m}{s}
\$0.75 | 75 \text{ cents}
x^3 - 3x + c | x^3-3x+C
\log 100 | 2
\text{Sunday} | It is Sunday
"""

MISTAKEN = r"""
"""


def pairs(text):
    lines = text.strip().replace(" |\n    ", " | ").splitlines()
    return [tuple(part.strip() for part in line.split(" | ", 1)) for line in lines]


EQUIVALENT, DIFFERENT, MISSED, MISTAKEN = map(pairs, (EQUIVALENT, DIFFERENT, MISSED, MISTAKEN))
