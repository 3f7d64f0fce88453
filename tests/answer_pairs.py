"""Pairs of answers, written by hand: `reference | prediction`, one per line."""

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
\begin{pmatrix} 7/17 & -3/17 \\ 1/17 & 2/17 \end{pmatrix} | \begin{pmatrix} \frac{7}{17} & -\frac{3}{17} \\ \frac{1}{17} & \frac{2}{17} \end{pmatrix}
\begin{pmatrix} 5/13 & 12/13 \\ 12/13 & -5/13 \end{pmatrix} | \left[\begin{matrix} \frac{5}{13} & \frac{12}{13} \\ \frac{12}{13} & -\frac{5}{13} \end{matrix}\right]
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
"""



def pairs(text):
    return [tuple(part.strip() for part in line.split(" | ", 1)) for line in text.strip().splitlines()]


EQUIVALENT, DIFFERENT = pairs(EQUIVALENT), pairs(DIFFERENT)
